#pragma once
#include <string>
#include <vector>

#include "data/templates/message.h"

namespace isogrid {

/// What the model is to go on from: one text, or a conversation that waits for an answer.
struct Prompt {
  std::vector<Message> messages;
  std::string place;  // for messages to the user

  bool is_text() const { return messages.size() == 1 && messages[0].role == Speaker::user; }
};

Prompt text_prompt(std::string text, std::string place);

/// A .json file holds a list of prompts, a .jsonl file one a line: each a string, or an object
/// with "prompt" (and perhaps "system") or with "messages" of role and content. Any other file
/// holds one text a line; empty lines are left out.
std::vector<Prompt> read_prompts(const std::string& path);

}  // namespace isogrid
