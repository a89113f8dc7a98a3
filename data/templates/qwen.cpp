#include "data/templates/families.h"

namespace isogrid {
namespace {

constexpr ChatTemplate qwen_layout(std::string_view name) {
  ChatTemplate layout{};
  layout.name = name;
  layout.system = {"<|im_start|>system\n", "<|im_end|>\n"};
  layout.user = {"<|im_start|>user\n", "<|im_end|>\n"};
  layout.tool = layout.user;
  layout.tool_result = {"<tool_response>\n", "\n</tool_response>"};
  layout.groups_tool_results = true;
  layout.header = "<|im_start|>assistant\n";
  layout.answer = {"", "<|im_end|>\n"};
  layout.stop_tokens[0] = "<|im_end|>";
  layout.replaces_eos = true;
  layout.tools = ToolDialect::qwen;
  return layout;
}

constexpr ChatTemplate qwen2_layout() {
  ChatTemplate layout = qwen_layout("qwen");
  layout.default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
  return layout;
}

constexpr ChatTemplate qwen3_layout() {
  ChatTemplate layout = qwen_layout("qwen3");
  layout.thinking = Thinking::qwen3;
  return layout;
}

}  // namespace

constinit const ChatTemplate kQwen = qwen2_layout();
constinit const ChatTemplate kQwen3 = qwen3_layout();
constinit const ChatTemplate kQwen3NoThink = qwen_layout("qwen3_nothink");

}  // namespace isogrid
