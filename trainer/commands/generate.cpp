#include "models/generate.h"

#include <cstdio>

#include "core/error.h"
#include "core/io.h"
#include "core/json.h"
#include "core/log.h"
#include "core/process_memory.h"
#include "trainer/answer_plan.h"
#include "trainer/answer_text.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/prompts.h"
#include "trainer/open_model.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

struct Written {
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::string> texts;
  GenerationResult result;

  size_t tokens() const {
    size_t count = 0;
    for (const auto& ids : result.ids) count += ids.size();
    return count;
  }
  /// Of the steps after the first token; of everything where there were none.
  double speed() const {
    if (result.decoded_tokens > 0 && result.decode_seconds > 0) {
      return static_cast<double>(result.decoded_tokens) / result.decode_seconds;
    }
    const double seconds = result.prefill_seconds + result.decode_seconds;
    return seconds > 0 ? static_cast<double>(tokens()) / seconds : 0;
  }
  double prompt_speed() const {
    size_t count = 0;
    for (const auto& ids : prompts) count += ids.size();
    return result.prefill_seconds > 0 ? static_cast<double>(count) / result.prefill_seconds : 0;
  }
};

std::vector<std::vector<int32_t>> encode_prompts(const std::vector<Prompt>& prompts,
                                                 const AnswerPlan& plan,
                                                 const Tokenizer& tokenizer) {
  std::vector<std::vector<int32_t>> ids;
  for (const Prompt& prompt : prompts) {
    if (plan.layout != nullptr) {
      ids.push_back(conversation_ids(plan, tokenizer, prompt.messages));
    } else if (prompt.is_text()) {
      ids.push_back(raw_prompt_ids(tokenizer, prompt.messages.front().content));
    } else {
      fail(ExitCode::usage, prompt.place,
           " is a conversation; --template says how it becomes text");
    }
  }
  return ids;
}

/// With `streams` the text of the only prompt goes to stdout as it comes.
Written write(const CausalLm& model, const AnswerPlan& plan, const Tokenizer& tokenizer,
              std::vector<std::vector<int32_t>> prompts, bool streams) {
  std::vector<AnswerText> answers(prompts.size(), AnswerText(plan, tokenizer));
  const auto show = [&](const std::string& text) {
    if (!streams) return;
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  GenerationRequest request = plan.request();
  request.prompts = prompts;
  request.on_token = [&](int64_t prompt, int32_t id) {
    AnswerText& answer = answers[static_cast<size_t>(prompt)];
    show(answer.push(id));
    return !answer.stopped();
  };
  Written written{.prompts = std::move(prompts), .texts = {}, .result = generate(model, request)};
  for (AnswerText& answer : answers) {
    show(answer.finish());
    written.texts.push_back(answer.shown());
  }
  return written;
}

void print_json(const Written& written, bool as_list) {
  Json results = Json::array();
  for (size_t i = 0; i < written.texts.size(); ++i) {
    results.push_back({{"prompt_ids", written.prompts[i]},
                       {"ids", written.result.ids[i]},
                       {"text", written.texts[i]},
                       {"tokens_per_second", written.speed()},
                       {"prompt_tokens_per_second", written.prompt_speed()},
                       {"peak_resident_bytes", peak_resident_bytes()}});
  }
  const std::string text = (as_list ? results : results.front()).dump() + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void print_answers(const std::vector<Prompt>& prompts, const Written& written) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    const std::string& question = prompts[i].messages.back().content;
    std::printf("%s%s\n%s\n", i > 0 ? "\n" : "", inked(stdout, Ink::bold, "> " + question).c_str(),
                written.texts[i].c_str());
  }
}

}  // namespace

int run_generate(const Invocation& invocation) {
  const CommandOptions& options = invocation.options;
  const RunConfig& config = invocation.config;
  if (options.prompt.has_value() == options.prompts_file.has_value()) {
    fail(ExitCode::usage, "generate needs --prompt TEXT or --prompts_file FILE, one of the two");
  }
  const ChatTemplate* layout = config.conversation.chat_template
                                   ? &chat_template(*config.conversation.chat_template)
                                   : nullptr;
  const bool single = options.prompt.has_value();
  const std::vector<Prompt> prompts =
      single ? std::vector<Prompt>{text_prompt(*options.prompt, "--prompt")}
             : read_prompts(*options.prompts_file);
  const std::string path = model_folder_path(config);
  const Tokenizer tokenizer = Tokenizer::load(path);
  const AnswerPlan plan = plan_answers(config, open_model_folder(path), tokenizer, layout);
  std::vector<std::vector<int32_t>> ids = encode_prompts(prompts, plan, tokenizer);
  const OpenedModel opened = open_model(config);

  const bool streams = single && !options.json;
  const Written written = write(opened.model, plan, tokenizer, std::move(ids), streams);
  if (options.json) {
    print_json(written, !single);
  } else if (single) {
    std::fputs("\n", stdout);
  } else {
    print_answers(prompts, written);
  }
  std::fflush(stdout);  // the answer stands before what is said about it
  log_info(concat(written.tokens(), " tokens, ", static_cast<int64_t>(written.speed() + 0.5),
                  " tokens/s"));
  return 0;
}

}  // namespace isogrid
