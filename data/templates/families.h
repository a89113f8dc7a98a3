#pragma once
#include "data/templates/chat_template.h"

namespace isogrid {

extern const ChatTemplate kQwen;
extern const ChatTemplate kQwen3;
extern const ChatTemplate kQwen3NoThink;
extern const ChatTemplate kChatMl;
extern const ChatTemplate kLlama3;
extern const ChatTemplate kLlama2;
extern const ChatTemplate kSmolLm2;
extern const ChatTemplate kSmolLm3;
extern const ChatTemplate kZen;
extern const ChatTemplate kEmpty;

}  // namespace isogrid
