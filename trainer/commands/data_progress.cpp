#include "trainer/commands/data_progress.h"

namespace isogrid {
namespace {

constexpr int64_t kMiB = 1 << 20;

}  // namespace

DataHooks DataProgress::hooks() {
  DataHooks hooks;
  hooks.progress = [this](std::string_view what, int64_t done, int64_t total) {
    show(what, done, total);
  };
  hooks.stop = [] { return StopSignal::requested(); };
  hooks.threads = static_cast<unsigned>(threads_);
  return hooks;
}

void DataProgress::show(std::string_view what, int64_t done, int64_t total) {
  if (!line_ || shown_ != what) {
    line_.reset();
    shown_ = what;
    line_ = std::make_unique<ProgressLine>(shown_ + ", MiB", (total + kMiB - 1) / kMiB);
  }
  line_->show(done / kMiB);
  if (done >= total) line_.reset();
}

}  // namespace isogrid
