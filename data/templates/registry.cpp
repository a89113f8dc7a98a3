#include <algorithm>
#include <array>
#include <ctime>
#include <vector>

#include "configs/suggest.h"
#include "core/error.h"
#include "data/templates/families.h"
#include "data/templates/text.h"

namespace isogrid {
namespace {

constexpr std::array<const ChatTemplate*, 10> kTemplates = {
    &kQwen,   &kQwen3,   &kQwen3NoThink, &kChatMl, &kLlama3,
    &kLlama2, &kSmolLm2, &kSmolLm3,      &kZen,    &kEmpty};

/// A checkpoint's template is ours when it holds every mark of `has` and none of `lacks`.
struct Marks {
  RecognisedTemplate found;
  std::vector<std::string_view> has;
  std::vector<std::string_view> lacks;
};

// First match wins. What these rules do not cover is left to the user's --template: a template
// that opens a <think> block itself, for example, is none of ours.
const std::vector<Marks>& marks() {
  static const std::vector<Marks> table = {
      {{&kSmolLm3, {}}, {"<|im_start|>", "Reasoning Mode: ", "/no_think"}, {}},
      {{&kSmolLm2, {}}, {"<|im_start|>", "assistant named SmolLM, trained by"}, {"<tool_call>"}},
      {{&kQwen3, {}},
       {"<|im_start|>", "<tool_call>", "enable_thinking", "'<think>\\n\\n</think>\\n\\n'"},
       {"<function=", "image"}},
      {{&kQwen, {}},
       {"<|im_start|>", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
       {"<function=", "image", "<think>"}},
      {{&kQwen3NoThink, {}},
       {"<|im_start|>", "<tool_call>", "<tool_response>", "# Tools"},
       {"<function=", "image", "<think>", "system\\nYou are", "system\\nPlease"}},
      {{&kLlama3, "its own template adds a line with a date to the system text, ours does not"},
       {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "Today Date"},
       {"image"}},
      {{&kLlama3, {}}, {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, {"image"}},
      {{&kLlama2, {}}, {"[INST] ", "<<SYS>>"}, {}},
      {{&kChatMl, {}},
       {"<|im_start|>", "<|im_end|>"},
       {"<tool_call>", "<think>", "You are", "image"}},
      {{&kZen, {}}, {"User: ", "Assistant:"}, {"<|", "<s>"}},
  };
  return table;
}

}  // namespace

std::span<const ChatTemplate* const> chat_templates() { return kTemplates; }

const ChatTemplate& chat_template(std::string_view name) {
  std::vector<std::string_view> names;
  std::string list;
  for (const ChatTemplate* layout : kTemplates) {
    if (layout->name == name) return *layout;
    names.push_back(layout->name);
    list.append(list.empty() ? "" : ", ").append(layout->name);
  }
  fail(ExitCode::configuration, "template: came ", name, suggestion(name, names), "; allowed are ",
       list);
}

RecognisedTemplate recognise_chat_template(std::string_view jinja_source) {
  const auto found = [&](std::string_view mark) { return contains(jinja_source, mark); };
  for (const Marks& rule : marks()) {
    if (std::all_of(rule.has.begin(), rule.has.end(), found) &&
        std::none_of(rule.lacks.begin(), rule.lacks.end(), found)) {
      return rule.found;
    }
  }
  return {};
}

Day local_day() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  return {.year = parts.tm_year + 1900, .month = parts.tm_mon + 1, .day = parts.tm_mday};
}

}  // namespace isogrid
