#include "trainer/chat_session.h"

#include <algorithm>

#include "core/error.h"
#include "trainer/answer_text.h"

namespace isogrid {

ChatSession::ChatSession(const CausalLm& model, const Tokenizer& tokenizer, AnswerPlan plan)
    : model_(model),
      tokenizer_(tokenizer),
      plan_(std::move(plan)),
      cache_(model.config, /*sequences=*/1, model.compute, model.device) {}

void ChatSession::check_room(size_t prompt_tokens) const {
  const auto tokens = static_cast<int64_t>(prompt_tokens);
  const int64_t context = model_.config.max_position;
  if (context > 0 && tokens >= context) {
    fail(ExitCode::usage, "the conversation has ", tokens, " tokens and the model reads ", context,
         " at most; /reset starts afresh");
  }
  if (plan_.settings.max_length > 0 && tokens >= plan_.settings.max_length) {
    fail(ExitCode::usage, "the conversation has ", tokens, " tokens and max_length is ",
         plan_.settings.max_length, "; /reset starts afresh");
  }
}

// At least the prompt's last token is read, because its logits are the first answer.
size_t ChatSession::keep_common_prefix(const std::vector<int32_t>& prompt) {
  const auto differ = std::mismatch(cached_.begin(), cached_.end(), prompt.begin(), prompt.end());
  const size_t common =
      std::min(static_cast<size_t>(differ.first - cached_.begin()), prompt.size() - 1);
  cache_.truncate(0, static_cast<int64_t>(common));
  cached_.resize(common);
  return common;
}

ChatSession::Reply ChatSession::say(std::string question,
                                    const std::function<bool(const std::string&)>& on_text) {
  std::vector<Message> messages = messages_;
  messages.push_back(
      {.role = Speaker::user, .content = std::move(question), .tool_calls = {}, .trained = {}});
  const std::vector<int32_t> prompt = conversation_ids(plan_, tokenizer_, messages);
  if (prompt.empty()) fail(ExitCode::usage, "there is nothing to answer");
  check_room(prompt.size());

  Reply reply;
  reply.read_tokens = prompt.size() - keep_common_prefix(prompt);
  AnswerText answer(plan_, tokenizer_);
  bool wanted = true;
  GenerationRequest request = plan_.request();
  request.prompts = {prompt};
  request.on_token = [&](int64_t, int32_t id) {
    wanted = on_text(answer.push(id));
    return wanted && !answer.stopped();
  };
  const GenerationResult result = generate(model_, request, &cache_);
  on_text(answer.finish());

  cached_ = prompt;
  const std::vector<int32_t>& ids = result.ids.front();
  cached_.insert(cached_.end(), ids.begin(), ids.end());
  cached_.resize(std::min(cached_.size(), static_cast<size_t>(cache_.length(0))));
  const bool ended = answer.stopped() || !wanted ||
                     (!ids.empty() && std::find(plan_.stop_ids.begin(), plan_.stop_ids.end(),
                                                ids.back()) != plan_.stop_ids.end());
  reply.text = answer.shown();
  reply.tokens = ids.size();
  reply.decode_seconds = result.decode_seconds;
  reply.cut_short = !ended;
  messages.push_back(
      {.role = Speaker::assistant, .content = reply.text, .tool_calls = {}, .trained = {}});
  messages_ = std::move(messages);
  return reply;
}

void ChatSession::reset() {
  const bool has_system = !messages_.empty() && messages_.front().role == Speaker::system;
  messages_.resize(has_system ? 1 : 0);
}

void ChatSession::set_system(std::string text) {
  messages_.clear();
  if (text.empty()) return;
  messages_.push_back(
      {.role = Speaker::system, .content = std::move(text), .tool_calls = {}, .trained = {}});
}

}  // namespace isogrid
