#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "data/templates/chat_template.h"
#include "data/templates/message.h"
#include "data/tokenizer/tokenizer.h"
#include "models/folder.h"
#include "models/generate.h"
#include "models/generation_settings.h"

namespace isogrid {

/// How questions become ids and when an answer ends: the settings, the model's own files and the
/// template put together.
struct AnswerPlan {
  GenerationSettings settings;
  std::vector<int32_t> stop_ids;
  const ChatTemplate* layout = nullptr;  // null: prompts are raw text
  TemplateOptions options;
  std::string bos, eos;  // the tokenizer's own marks; empty when it has none
  uint64_t seed = 0;
  bool skip_special = true;

  /// Everything but the prompts and the listener.
  GenerationRequest request() const;
};

/// The template of `template`, else the one the folder's own chat template stands for, which is
/// said. Neither: exit code 78.
const ChatTemplate& template_for_chat(const RunConfig& config, const ModelFolder& folder);

/// `layout` null: raw prompts, which end only where the model's files say.
AnswerPlan plan_answers(const RunConfig& config, const ModelFolder& folder,
                        const Tokenizer& tokenizer, const ChatTemplate* layout);

/// Raw text with what the tokenizer adds to it.
std::vector<int32_t> raw_prompt_ids(const Tokenizer& tokenizer, const std::string& text);

/// The conversation up to where the model has to answer; plan.layout must be set.
std::vector<int32_t> conversation_ids(const AnswerPlan& plan, const Tokenizer& tokenizer,
                                      std::span<const Message> messages);

}  // namespace isogrid
