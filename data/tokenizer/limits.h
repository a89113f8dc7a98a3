#pragma once
#include <cstddef>
#include <cstdint>

namespace isogrid {

/// What a stranger's tokenizer file may ask for.
inline constexpr size_t kTokenizerFileBytes = size_t{256} << 20;
inline constexpr size_t kTokenizerTokens = 2'000'000;
inline constexpr size_t kTokenizerPieceBytes = 4096;
inline constexpr size_t kTokenizerSteps = 16;  // of a normaliser, pre-tokeniser, decoder

inline constexpr size_t kTokenizerAffixBytes = 64;  // what a normaliser puts into text
inline constexpr size_t kTokenizerGrowth = 64;      // and how much longer text may become,
inline constexpr size_t kTokenizerGrown = 1 << 20;  // beyond this

/// Ids are dense: no id reaches twice the number of tokens.
inline constexpr bool tokenizer_id_is_dense(uint64_t id, size_t tokens) {
  return id < 2 * uint64_t{tokens};
}

}  // namespace isogrid
