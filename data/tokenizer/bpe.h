#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/vocabulary.h"

namespace isogrid {

/// left + right -> joined; the place in the list is the rank, lower first.
struct Merge {
  int32_t left;
  int32_t right;
  int32_t joined;
};

/// Merges by pair of ids, in one flat table.
class MergeTable {
 public:
  struct Entry {
    uint64_t pair = UINT64_MAX;
    uint32_t rank = UINT32_MAX;
    int32_t joined = -1;
  };

  void build(const std::vector<Merge>& merges);
  /// An entry of rank UINT32_MAX when the two do not merge.
  const Entry& find(int32_t left, int32_t right) const {
    const uint64_t pair =
        uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    size_t slot = hash_pair(pair) & mask_;
    while (entries_[slot].pair != pair && entries_[slot].pair != UINT64_MAX)
      slot = (slot + 1) & mask_;
    return entries_[slot];
  }

 private:
  std::vector<Entry> entries_{1};
  size_t mask_ = 0;
};

/// Buffers of one piece's merging, reused from piece to piece.
struct BpeScratch {
  std::vector<int32_t> symbols;
  std::vector<uint32_t> previous, next, ranks;
  std::vector<int32_t> joined;
  std::vector<uint64_t> heap;
};

struct BpeOptions {
  bool byte_level = false;     // pieces are bytes, spelled in the printable alphabet
  bool ignore_merges = false;  // a piece that is a token is that token
  bool byte_fallback = false;  // a character without token becomes <0x..> tokens
  bool fuse_unk = false;
  std::string unk_token;  // empty: characters without token vanish
};

/// Byte-pair encoding: the neighbours of lowest rank are joined, leftmost first, until none is
/// left.
class BpeModel {
 public:
  void build(BpeOptions options, Vocabulary vocabulary, const std::vector<Merge>& merges);

  /// Appends the ids of one piece, in O(n log n) for n bytes.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const BpeOptions& options() const { return options_; }

 private:
  void start_symbols(std::string_view piece, std::vector<int32_t>& symbols) const;
  void start_chars(std::string_view spelled, std::vector<int32_t>& symbols) const;
  bool append_fallback(std::string_view character, std::vector<int32_t>& symbols) const;
  void merge_short(std::vector<int32_t>& symbols) const;
  void merge_long(BpeScratch& scratch) const;

  BpeOptions options_;
  Vocabulary vocabulary_;
  MergeTable merges_;
  std::array<int32_t, 256> byte_ids_{};      // byte level: the token of each byte
  std::array<int32_t, 256> fallback_ids_{};  // <0x00> ... <0xFF>
  bool all_bytes_known_ = false;
};

}  // namespace isogrid
