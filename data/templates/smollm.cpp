#include "core/json.h"
#include "data/templates/families.h"
#include "data/templates/json_text.h"
#include "data/templates/text.h"
#include "data/templates/thinking.h"

namespace isogrid {
namespace {

constexpr std::string_view kShortIdentity =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face.";

constexpr std::string_view kSmolLm2System =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

constexpr std::string_view kThinkingInstructions =
    " Your role as an assistant involves thoroughly exploring questions through a systematic "
    "thinking process before providing the final precise and accurate solutions. This requires "
    "engaging in a comprehensive cycle of analysis, summarizing, exploration, reassessment, "
    "reflection, backtracking, and iteration to develop well-considered thinking process. Please "
    "structure your response into two main sections: Thought and Solution using the specified "
    "format: <think> Thought section </think> Solution section. In the Thought section, detail "
    "your reasoning process in steps. Each step should include detailed considerations such as "
    "analysing questions, summarizing relevant findings, brainstorming new ideas, verifying the "
    "accuracy of the current steps, refining any errors, and revisiting previous steps. In the "
    "Solution section, based on various attempts, explorations, and reflections from the Thought "
    "section, systematically present the final solution that you deem correct. The Solution "
    "section should be logical, accurate, and concise and detail necessary steps needed to reach "
    "the conclusion.";

constexpr std::string_view kMonths[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};

std::string day_month_year(const Day& day) {
  return (day.day < 10 ? "0" : "") + std::to_string(day.day) + " " +
         std::string(kMonths[day.month - 1]) + " " + std::to_string(day.year);
}

std::string smollm_tools(std::string_view tools) {
  std::string text =
      "### Tools\n\nYou may call one or more functions to assist with the user query.\n"
      "You are provided with function signatures within <tools></tools> XML tags:\n\n<tools>\n";
  for (const Json& tool : parse_json(tools, "tools")) text += python_text(tool) + "\n";
  return text +
         "</tools>\n\nFor each function call, return a json object with function name and "
         "arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
         "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>\n\n"
         "<|im_end|>\n";
}

// Without tools the checkpoint's own template leaves this block open, so ours does.
std::string smollm_system(const SystemRequest& system, const TemplateOptions& options) {
  const bool thinks = smollm_thinks(system.text, options);
  const std::string unmarked = erase_all(erase_all(system.text, "/no_think"), "/think");
  std::string words(trim_right(unmarked));
  if (contains(system.text, "/system_override")) {
    return std::string(trim_right(erase_all(words, "/system_override"))) + "<|im_end|>\n";
  }
  if (words.empty()) {
    words = kShortIdentity;
    if (thinks) words += kThinkingInstructions;
  }
  return "## Metadata\n\nKnowledge Cutoff Date: June 2025\nToday Date: " +
         day_month_year(options.today.value_or(local_day())) +
         "\nReasoning Mode: " + (thinks ? "/think" : "/no_think") +
         "\n\n## Custom Instructions\n\n" + words + "\n\n" +
         (options.tools.empty() ? std::string() : smollm_tools(options.tools));
}

constexpr ChatTemplate smollm2_layout() {
  ChatTemplate layout{};
  layout.name = "smollm2";
  layout.default_system = kSmolLm2System;
  layout.system = {"<|im_start|>system\n", "<|im_end|>\n"};
  layout.user = {"<|im_start|>user\n", "<|im_end|>\n"};
  layout.tool = layout.user;
  layout.header = "<|im_start|>assistant\n";
  layout.answer = {"", "<|im_end|>\n"};
  layout.stop_tokens[0] = "<|im_end|>";
  return layout;
}

constexpr ChatTemplate smollm3_layout() {
  ChatTemplate layout = smollm2_layout();
  layout.name = "smollm3";
  layout.default_system = {};
  layout.system.after = "";
  layout.compose_system = smollm_system;
  layout.replaces_eos = true;
  layout.tools = ToolDialect::qwen;
  layout.thinking = Thinking::smollm3;
  layout.thought = {"<think>\n", "\n</think>\n"};
  return layout;
}

}  // namespace

constinit const ChatTemplate kSmolLm2 = smollm2_layout();
constinit const ChatTemplate kSmolLm3 = smollm3_layout();

}  // namespace isogrid
