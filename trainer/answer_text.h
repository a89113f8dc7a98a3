#pragma once
#include <string>

#include "data/templates/answer_filter.h"
#include "data/tokenizer/stream_decoder.h"
#include "trainer/answer_plan.h"

namespace isogrid {

/// An answer's ids as they become text for a reader.
class AnswerText {
 public:
  AnswerText(const AnswerPlan& plan, const Tokenizer& tokenizer)
      : decoder_(tokenizer, plan.skip_special),
        filter_(plan.layout ? plan.layout->answer.before : std::string_view(),
                plan.layout ? plan.layout->stop_string : std::string_view()) {}

  /// What can be shown after this id.
  std::string push(int32_t id) { return filter_.push(decoder_.push(id)); }
  /// The rest.
  std::string finish() {
    std::string text = filter_.push(decoder_.finish());
    return text += filter_.finish();
  }
  bool stopped() const { return filter_.stopped(); }
  const std::string& shown() const { return filter_.shown(); }

 private:
  StreamDecoder decoder_;
  AnswerFilter filter_;
};

}  // namespace isogrid
