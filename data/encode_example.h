#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/formats/example.h"
#include "data/templates/turns.h"
#include "data/text_coder.h"

namespace isogrid {

/// How examples become tokens and labels.
struct EncodeOptions {
  const ChatTemplate* layout = nullptr;
  TurnOptions turns;             // `today` is set where it matters and only there
  std::string bos, eos;          // the tokenizer's, or what the layout puts in their place
  bool bos_before_text = false;  // of plain text
  int64_t cutoff_len = 2048;
  bool whole_texts = false;  // plain text is cut into blocks later, so not here
};

struct EncodedExample {
  std::vector<uint32_t> words;   // TokenWord
  int64_t truncated_tokens = 0;  // how many did not fit
};

/// Encodes examples one after another, as LLaMA-Factory does; one for each thread.
class ExampleEncoder {
 public:
  /// The tokenizer and the options must outlive it. A mark that a layout needs and the tokenizer
  /// has not is refused (78).
  ExampleEncoder(const Tokenizer& tokenizer, const EncodeOptions& options);

  /// What cannot be laid out is refused (65) without a place.
  void encode(const Example& example, EncodedExample& encoded);

  /// What TokenWord::kCloses stands for; 0 where the layout has no use for it.
  int32_t closing_id() const { return closing_id_; }

 private:
  struct Side {
    std::vector<uint32_t> words;
    void keep(int64_t count) { words.resize(static_cast<size_t>(count)); }
    int64_t size() const { return static_cast<int64_t>(words.size()); }
  };
  void encode_text(const std::string& text, EncodedExample& encoded);
  void encode_turns_of(const Example& example, EncodedExample& encoded);
  void append_slots(const std::vector<Slot>& slots, Side& side);
  int32_t mark(Slot::Kind kind) const;

  const Tokenizer& tokenizer_;
  const EncodeOptions& options_;
  int32_t bos_id_ = -1, eos_id_ = -1;
  int32_t closing_id_ = 0;
  EncodeScratch scratch_;
  std::vector<int32_t> ids_;
};

/// Whether what the layout writes depends on the day.
bool tells_the_date(const ChatTemplate& layout, const TurnOptions& options);

/// LLaMA-Factory's rule for a question and an answer that share `budget` tokens: a side shorter
/// than half of it stays whole, else both are cut in proportion.
struct SideLengths {
  int64_t source, target;
};
SideLengths truncated_lengths(int64_t source, int64_t target, int64_t budget);

}  // namespace isogrid
