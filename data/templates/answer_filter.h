#pragma once
#include <string>
#include <string_view>

namespace isogrid {

/// What of a streamed answer is for the reader: text in front that belongs to the layout is left
/// out, and so is everything from a stop string on. Text that may be the start of the stop string
/// is held back until it is clear.
class AnswerFilter {
 public:
  /// `lead` and `stop` may be empty.
  AnswerFilter(std::string_view lead, std::string_view stop) : lead_(lead), stop_(stop) {}

  /// The text that can be shown after `piece`.
  std::string push(std::string_view piece);
  /// What was held back; the answer is complete.
  std::string finish();
  /// Whether the stop string has come.
  bool stopped() const { return stopped_; }
  /// All that was shown.
  const std::string& shown() const { return shown_; }

 private:
  std::string show(std::string text);

  std::string lead_, stop_;
  std::string pending_;
  std::string shown_;
  bool started_ = false;
  bool stopped_ = false;
};

}  // namespace isogrid
