#pragma once
#include <string>
#include <vector>

#include "data/templates/message.h"

namespace isogrid {

/// One record as training sees it: a conversation, or plain text when there are no messages.
struct Example {
  std::vector<Message> messages;  // a system message first, if there is one
  std::string tools;              // JSON list of functions
  std::string text;
  bool lost_text = false;  // words beside tool calls are left out, as LLaMA-Factory does

  void clear() {
    messages.clear();
    tools.clear();
    text.clear();
    lost_text = false;
  }
};

}  // namespace isogrid
