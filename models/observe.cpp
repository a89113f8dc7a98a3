#include "models/observe.h"

#include "core/error.h"

namespace isogrid {

thread_local InputObserver* InputObserver::current_ = nullptr;

InputObserver::InputObserver(Visitor visitor) : visitor_(std::move(visitor)) {
  if (current_ != nullptr) fail(ExitCode::internal, "two observers of the same inputs");
  current_ = this;
}

InputObserver::~InputObserver() { current_ = nullptr; }

}  // namespace isogrid
