#include "trainer/answer_plan.h"

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "data/templates/prompt.h"
#include "data/templates/tools.h"
#include "data/tokenizer/edge_tokens.h"
#include "trainer/data_coding.h"

namespace isogrid {
namespace {

/// The ids at which the model's own files end a text.
GenerationChoices model_choices(const ModelFolder& folder) {
  GenerationChoices choices;
  if (folder.generation_config) {
    choices = read_generation_config(*folder.generation_config,
                                     folder.files->shown("generation_config.json"));
  }
  if (choices.eos_token_ids.empty() && folder.config.contains("eos_token_id")) {
    const Json eos = {{"eos_token_id", folder.config["eos_token_id"]}};
    choices.eos_token_ids =
        read_generation_config(eos, folder.files->shown("config.json")).eos_token_ids;
  }
  return choices;
}

GenerationChoices user_choices(const RunConfig& config) {
  const GenerationConfig& given = config.generation;
  GenerationChoices choices;
  const auto take = [&](const char* key, auto& choice, const auto& value) {
    if (config.is_given(key)) choice = value;
  };
  take("do_sample", choices.do_sample, given.do_sample);
  take("temperature", choices.temperature, given.temperature);
  take("top_k", choices.top_k, given.top_k);
  take("top_p", choices.top_p, given.top_p);
  take("min_p", choices.min_p, given.min_p);
  take("repetition_penalty", choices.repetition_penalty, given.repetition_penalty);
  take("max_new_tokens", choices.max_new_tokens, given.max_new_tokens);
  take("max_length", choices.max_length, given.max_length);
  return choices;
}

std::vector<int32_t> template_stop_ids(const ChatTemplate& layout, const Tokenizer& tokenizer,
                                       const std::string& eos) {
  std::vector<int32_t> ids;
  for (const std::string_view token : layout.stop_tokens) {
    if (token.empty()) continue;
    if (const auto id = tokenizer.id_of(token)) {
      ids.push_back(*id);
    } else if (token == layout.stop_tokens[0]) {
      log_warning(concat("template: ", layout.name, " ends an answer with ", token,
                         ", which this model's tokenizer does not have; another template may fit "
                         "better"));
    }
  }
  if (const auto id = tokenizer.id_of(eos)) ids.push_back(*id);
  return ids;
}

TemplateOptions template_options(const ConversationConfig& config) {
  TemplateOptions options;
  options.enable_thinking = config.enable_thinking;
  options.preserve_thinking = config.preserve_thinking;
  options.default_system = config.default_system;
  if (config.tool_format) options.tool_dialect = tool_dialect(*config.tool_format);
  return options;
}

}  // namespace

GenerationRequest AnswerPlan::request() const {
  GenerationRequest request;
  request.max_new_tokens = settings.max_new_tokens;
  request.max_length = settings.max_length;
  request.sampling = settings.sampling;
  request.stop_ids = stop_ids;
  request.seed = seed;
  return request;
}

const ChatTemplate& template_for_chat(const RunConfig& config, const ModelFolder& folder) {
  if (config.conversation.chat_template) return chat_template(*config.conversation.chat_template);
  if (const ChatTemplate* layout = recognised_layout(folder.chat_template)) return *layout;
  std::string names;
  for (const ChatTemplate* layout : chat_templates())
    names.append(names.empty() ? "" : ", ").append(layout->name);
  fail(ExitCode::configuration, folder.path,
       folder.chat_template ? ": its chat template is none this program knows"
                            : ": has no chat template",
       "; name one with --template: ", names);
}

AnswerPlan plan_answers(const RunConfig& config, const ModelFolder& folder,
                        const Tokenizer& tokenizer, const ChatTemplate* layout) {
  const EdgeTexts edges = read_edge_texts(*folder.files, tokenizer);
  const GenerationChoices model = model_choices(folder);
  AnswerPlan plan;
  plan.settings = decide_generation(user_choices(config), model);
  plan.layout = layout;
  plan.options = template_options(config.conversation);
  plan.bos = edges.bos;
  plan.eos = edges.eos;
  plan.seed = static_cast<uint64_t>(config.run.seed);
  plan.skip_special = config.generation.skip_special_tokens;
  std::vector<int32_t> others;
  if (layout != nullptr) {
    others = template_stop_ids(*layout, tokenizer, plan.eos);
  } else if (model.eos_token_ids.empty()) {
    others.push_back(tokenizer.id_of(plan.eos).value_or(-1));
  }
  plan.stop_ids = stop_ids(model, others);
  return plan;
}

std::vector<int32_t> raw_prompt_ids(const Tokenizer& tokenizer, const std::string& text) {
  return tokenizer.encode_with_specials(text);
}

std::vector<int32_t> conversation_ids(const AnswerPlan& plan, const Tokenizer& tokenizer,
                                      std::span<const Message> messages) {
  return tokenizer.encode(
      render_prompt(*plan.layout, messages, plan.options, {.bos = plan.bos, .eos = plan.eos}));
}

}  // namespace isogrid
