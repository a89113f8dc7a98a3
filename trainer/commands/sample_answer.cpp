#include "trainer/commands/sample_answer.h"

#include "trainer/answer_plan.h"
#include "trainer/answer_text.h"
#include "trainer/data_coding.h"
#include "trainer/open_model.h"

namespace isogrid {
namespace {

constexpr int64_t kSampleTokens = 48;

std::vector<int32_t> ids_of(const AnswerPlan& plan, const Tokenizer& tokenizer,
                            const std::string& prompt) {
  if (plan.layout == nullptr) return raw_prompt_ids(tokenizer, prompt);
  Message question;
  question.role = Speaker::user;
  question.content = prompt;
  const Message messages[] = {question};
  return conversation_ids(plan, tokenizer, messages);
}

}  // namespace

std::string sample_answer(const RunConfig& config, const std::string& prompt) {
  const OpenedModel opened = open_model(config);
  const Tokenizer tokenizer = Tokenizer::load(opened.folder.path);
  const ChatTemplate* layout = recognised_layout(opened.folder.chat_template);
  const AnswerPlan plan = plan_answers(config, opened.folder, tokenizer, layout);
  GenerationRequest request = plan.request();
  request.prompts = {ids_of(plan, tokenizer, prompt)};
  request.max_new_tokens = kSampleTokens;
  request.max_length = 0;
  request.sampling.do_sample = false;
  AnswerText text(plan, tokenizer);
  std::string answer;
  request.on_token = [&](int64_t, int32_t id) {
    answer += text.push(id);
    return !text.stopped();
  };
  generate(opened.model, request);
  return answer + text.finish();
}

}  // namespace isogrid
