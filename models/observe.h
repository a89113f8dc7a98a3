#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

#include "models/projection.h"

namespace isogrid {

/// While it lives, every projection this thread runs shows what it multiplies: the group and its
/// input [tokens, in] behind the prologue. One at a time.
class InputObserver {
 public:
  using Visitor = std::function<void(const Projection&, const at::Tensor& input)>;

  explicit InputObserver(Visitor visitor);
  InputObserver(const InputObserver&) = delete;
  InputObserver& operator=(const InputObserver&) = delete;
  ~InputObserver();

  /// Called by project().
  static void show(const Projection& projection, const at::Tensor& input) {
    if (current_ != nullptr) current_->visitor_(projection, input);
  }

 private:
  Visitor visitor_;
  static thread_local InputObserver* current_;
};

}  // namespace isogrid
