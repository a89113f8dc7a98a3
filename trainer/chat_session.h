#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/kv_cache.h"
#include "trainer/answer_plan.h"

namespace isogrid {

/// A conversation with a model. What the model has read stays in its cache from turn to turn;
/// only what the next prompt does not share with it is read again.
class ChatSession {
 public:
  ChatSession(const CausalLm& model, const Tokenizer& tokenizer, AnswerPlan plan);

  /// How a turn went.
  struct Reply {
    std::string text;
    size_t tokens = 0;
    size_t read_tokens = 0;  // of the prompt, beyond the cache
    double decode_seconds = 0;
    bool cut_short = false;  // the length ended it, not the model
  };

  /// Asks and answers. `on_text` hears of the answer as it comes; returning false stops it, and
  /// what came so far stays in the conversation. A conversation that leaves no room for an answer
  /// is refused with ExitCode::usage and stays as it was.
  Reply say(std::string question, const std::function<bool(const std::string&)>& on_text);

  /// Forgets everything but the system text.
  void reset();
  void set_system(std::string text);
  void set_thinking(std::optional<bool> thinks) { plan_.options.enable_thinking = thinks; }
  const AnswerPlan& plan() const { return plan_; }

 private:
  void check_room(size_t prompt_tokens) const;
  size_t keep_common_prefix(const std::vector<int32_t>& prompt);

  const CausalLm& model_;
  Tokenizer tokenizer_;
  AnswerPlan plan_;
  std::vector<Message> messages_;
  KvCache cache_;
  std::vector<int32_t> cached_;  // the ids that cache_ holds
};

}  // namespace isogrid
