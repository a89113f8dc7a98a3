#include "data/templates/families.h"

namespace isogrid {
namespace {

constexpr ChatTemplate llama3_layout() {
  ChatTemplate layout{};
  layout.name = "llama3";
  layout.bos_first = true;
  layout.system = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"};
  layout.user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"};
  layout.tool = {"<|start_header_id|>ipython<|end_header_id|>\n\n", "<|eot_id|>"};
  layout.header = "<|start_header_id|>assistant<|end_header_id|>\n\n";
  layout.answer = {"", "<|eot_id|>"};
  layout.stop_tokens[0] = "<|eot_id|>";
  layout.stop_tokens[1] = "<|eom_id|>";
  layout.replaces_eos = true;
  layout.trims_content = true;
  layout.tools = ToolDialect::llama3;
  return layout;
}

constexpr ChatTemplate llama2_layout() {
  ChatTemplate layout{};
  layout.name = "llama2";
  layout.bos_each_turn = true;
  layout.system = {"<<SYS>>\n", "\n<</SYS>>\n\n"};
  layout.system_in_user = true;
  layout.user = {"[INST] ", " [/INST]"};
  layout.tool = layout.user;
  layout.past_answer = Wrap{" ", " "};
  layout.eos_after_answer = true;
  layout.trims_content = true;
  return layout;
}

}  // namespace

constinit const ChatTemplate kLlama3 = llama3_layout();
constinit const ChatTemplate kLlama2 = llama2_layout();

}  // namespace isogrid
