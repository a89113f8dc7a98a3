#include "data/templates/families.h"

namespace isogrid {
namespace {

constexpr ChatTemplate chatml_layout() {
  ChatTemplate layout{};
  layout.name = "chatml";
  layout.system = {"<|im_start|>system\n", "<|im_end|>\n"};
  layout.user = {"<|im_start|>user\n", "<|im_end|>\n"};
  layout.tool = {"<|im_start|>tool\n", "<|im_end|>\n"};
  layout.header = "<|im_start|>assistant\n";
  layout.answer = {"", "<|im_end|>\n"};
  layout.stop_tokens[0] = "<|im_end|>";
  layout.stop_tokens[1] = "<|im_start|>";
  layout.replaces_eos = true;
  return layout;
}

}  // namespace

constinit const ChatTemplate kChatMl = chatml_layout();

}  // namespace isogrid
