#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/added_tokens.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/decoder.h"
#include "data/tokenizer/pre_tokenizer.h"
#include "data/tokenizer/tokenizer.h"

namespace isogrid {

struct NormalStep {
  enum class Kind : uint8_t { nfc, nfd, prepend, replace };
  Kind kind = Kind::nfc;
  std::string text;      // what is put in front, or what comes
  std::string replaced;  // what goes
};

/// The text after the steps: `text` itself, or a view of one of the two buffers.
std::string_view normalise(const std::vector<NormalStep>& steps, std::string_view text,
                           std::string (&buffers)[2]);

/// Everything a tokenizer file says, in the order text passes through it.
struct TokenizerParts {
  std::vector<NormalStep> normalizer;
  std::vector<PreStep> pre_tokenizer;
  BpeModel model;
  std::vector<int32_t> framed_before, framed_behind;  // by the post-processor
  DecoderSteps decoder;

  /// Adds a token as Hugging Face does: with the id the model or an earlier token has for it, else
  /// with the next free one. Returns the id, -1 when that one is another token's.
  int32_t add(AddedToken token);
  /// To be called once after the last add().
  void finish();

  std::map<int32_t, AddedToken> added;
  std::unordered_map<std::string, int32_t> added_ids;
  std::unordered_map<int32_t, std::string> decoded_as;  // normalised spellings, where they differ
  int32_t next_id = -1;  // for an added token that the model does not know
  AddedTokenFinder raw_finder, normalized_finder;
  uint64_t serial = 0;  // tells the word cache of a scratch whose words it holds

  /// Scratches of callers that bring none of their own.
  mutable std::mutex idle_mutex;
  mutable std::vector<EncodeScratch> idle;
};

}  // namespace isogrid
