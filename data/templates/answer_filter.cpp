#include "data/templates/answer_filter.h"

#include <algorithm>
#include <utility>

namespace isogrid {
namespace {

// How much of the end of `text` could go on to become `stop`.
size_t begun_stop(std::string_view text, std::string_view stop) {
  if (stop.empty()) return 0;
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.ends_with(stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

std::string AnswerFilter::push(std::string_view piece) {
  if (stopped_) return {};
  pending_ += piece;
  if (!started_) {
    if (pending_.size() < lead_.size() && lead_.starts_with(pending_)) return {};
    if (pending_.starts_with(lead_)) pending_.erase(0, lead_.size());
    started_ = true;
  }
  const size_t stop = stop_.empty() ? std::string::npos : pending_.find(stop_);
  if (stop != std::string::npos) {
    stopped_ = true;
    return show(std::exchange(pending_, {}).substr(0, stop));
  }
  const size_t certain = pending_.size() - begun_stop(pending_, stop_);
  std::string text = pending_.substr(0, certain);
  pending_.erase(0, certain);
  return show(std::move(text));
}

std::string AnswerFilter::finish() { return show(std::exchange(pending_, {})); }

std::string AnswerFilter::show(std::string text) {
  shown_ += text;
  return text;
}

}  // namespace isogrid
