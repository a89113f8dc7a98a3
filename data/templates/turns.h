#pragma once
#include <span>
#include <string>
#include <vector>

#include "data/templates/chat_template.h"
#include "data/templates/message.h"

namespace isogrid {

/// One call of the encoder, or one token named by its part in the tokenizer. No merge crosses a
/// slot's border: the ids of a conversation are the slots' ids laid end to end.
struct Slot {
  enum class Kind { text, bos, eos };
  Kind kind = Kind::text;
  std::string text;
  Speaker role = Speaker::user;
  bool trained = false;
};

/// A question and its answer. Truncation counts the two sides apart.
struct Turn {
  std::vector<Slot> source;
  std::vector<Slot> target;
  /// The first token of `source` is trained to be eos: the answer before it ends there, although
  /// the text goes on.
  bool source_closes_answer = false;
};

struct EncodedTurns {
  std::vector<Turn> turns;
  bool eos_at_end = false;  // one trained eos after the last turn
};

struct TurnOptions : TemplateOptions {
  bool mask_history = false;     // only the last answer is trained
  bool train_on_prompt = false;  // everything is
};

/// A conversation as LLaMA-Factory lays it out for training: an optional system message, then
/// user or tool messages and assistant messages in turn, ending with an answer.
EncodedTurns encode_turns(const ChatTemplate& layout, std::span<const Message> messages,
                          const TurnOptions& options);

}  // namespace isogrid
