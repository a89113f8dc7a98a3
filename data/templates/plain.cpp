// Layouts without special tokens.
#include "data/templates/families.h"

namespace isogrid {
namespace {

// The header ends before the space, because byte-level vocabularies have " Hello" as one token:
// a prompt that ends in a space would ask for a token the model has hardly ever seen.
constexpr ChatTemplate zen_layout() {
  ChatTemplate layout{};
  layout.name = "zen";
  layout.system = {"System: ", "\n"};
  layout.user = {"User: ", "\n"};
  layout.tool = {"Tool: ", "\n"};
  layout.header = "Assistant:";
  layout.answer = {" ", ""};
  layout.separator = "\n";
  layout.stop_string = "\nUser:";
  layout.eos_at_end = true;
  return layout;
}

constexpr ChatTemplate empty_layout() {
  ChatTemplate layout{};
  layout.name = "empty";
  return layout;
}

}  // namespace

constinit const ChatTemplate kZen = zen_layout();
constinit const ChatTemplate kEmpty = empty_layout();

}  // namespace isogrid
