#include "data/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <functional>

#include "core/error.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

// Up to here a scan over all pairs beats the heap.
constexpr size_t kShortPiece = 48;
constexpr uint32_t kNoRank = UINT32_MAX;

}  // namespace

void MergeTable::build(const std::vector<Merge>& merges) {
  entries_.assign(std::bit_ceil(merges.size() + merges.size() / 2 + 1), Entry{});
  mask_ = entries_.size() - 1;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    // A pair that is there twice has the later rank, as in a map filled in order.
    auto& entry = const_cast<Entry&>(find(merges[rank].left, merges[rank].right));
    entry.pair = uint64_t{static_cast<uint32_t>(merges[rank].left)} << 32 |
                 static_cast<uint32_t>(merges[rank].right);
    entry.rank = static_cast<uint32_t>(rank);
    entry.joined = merges[rank].joined;
  }
}

void BpeModel::build(BpeOptions options, Vocabulary vocabulary, const std::vector<Merge>& merges) {
  options_ = std::move(options);
  vocabulary_ = std::move(vocabulary);
  merges_.build(merges);
  all_bytes_known_ = true;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    fallback_ids_[byte] = vocabulary_.find(name);
    std::string spelled;
    append_utf8(spelled, byte_to_char(static_cast<uint8_t>(byte)));
    byte_ids_[byte] = vocabulary_.find(spelled);
    all_bytes_known_ = all_bytes_known_ && byte_ids_[byte] != Vocabulary::kNone;
  }
}

void BpeModel::encode(std::string_view piece, BpeScratch& scratch,
                      std::vector<int32_t>& ids) const {
  if (piece.size() > INT32_MAX)
    fail(ExitCode::refused_input, "a piece of text of ", piece.size(),
         " bytes without a place to split it: at most 2 GiB can be encoded");
  if (options_.ignore_merges) {
    const int32_t whole =
        options_.byte_level ? vocabulary_.find(to_byte_alphabet(piece)) : vocabulary_.find(piece);
    if (whole != Vocabulary::kNone) return ids.push_back(whole);
  }
  scratch.symbols.clear();
  start_symbols(piece, scratch.symbols);
  if (scratch.symbols.size() <= kShortPiece)
    merge_short(scratch.symbols);
  else
    merge_long(scratch);
  ids.insert(ids.end(), scratch.symbols.begin(), scratch.symbols.end());
}

void BpeModel::start_symbols(std::string_view piece, std::vector<int32_t>& symbols) const {
  if (!options_.byte_level) return start_chars(piece, symbols);
  if (!all_bytes_known_) return start_chars(to_byte_alphabet(piece), symbols);
  for (const char byte : piece) symbols.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
}

void BpeModel::start_chars(std::string_view spelled, std::vector<int32_t>& symbols) const {
  bool unknown = false;  // one is due, and comes out when a character with a token follows
  int32_t unk_id = Vocabulary::kNone;
  for (size_t at = 0; at < spelled.size();) {
    const std::string_view character = spelled.substr(at, utf8_char(spelled, at).bytes);
    at += character.size();
    const int32_t id = vocabulary_.find(character);
    if (id != Vocabulary::kNone) {
      if (unknown) symbols.push_back(unk_id);
      unknown = false;
      symbols.push_back(id);
    } else if (!append_fallback(character, symbols) && !options_.unk_token.empty()) {
      if (unknown && !options_.fuse_unk) symbols.push_back(unk_id);
      unknown = true;
      unk_id = vocabulary_.find(options_.unk_token);
      if (unk_id == Vocabulary::kNone)
        fail(ExitCode::refused_input, "the text holds '", character,
             "', which is not in the vocabulary, nor is the tokenizer's unk_token '",
             options_.unk_token, "'");
    }
  }
  if (unknown) symbols.push_back(unk_id);
}

bool BpeModel::append_fallback(std::string_view character, std::vector<int32_t>& symbols) const {
  if (!options_.byte_fallback) return false;
  for (const char byte : character)
    if (fallback_ids_[static_cast<uint8_t>(byte)] == Vocabulary::kNone) return false;
  for (const char byte : character) symbols.push_back(fallback_ids_[static_cast<uint8_t>(byte)]);
  return true;
}

void BpeModel::merge_short(std::vector<int32_t>& symbols) const {
  std::array<uint32_t, kShortPiece> ranks;
  std::array<int32_t, kShortPiece> joined;
  size_t count = symbols.size();
  const auto look = [&](size_t i) {
    const MergeTable::Entry& entry = merges_.find(symbols[i], symbols[i + 1]);
    ranks[i] = entry.rank;
    joined[i] = entry.joined;
  };
  for (size_t i = 0; i + 1 < count; ++i) look(i);
  while (count > 1) {
    const auto best = std::min_element(ranks.begin(), ranks.begin() + (count - 1)) - ranks.begin();
    const auto i = static_cast<size_t>(best);
    if (ranks[i] == kNoRank) break;
    symbols[i] = joined[i];
    --count;
    std::copy(symbols.data() + i + 2, symbols.data() + count + 1, symbols.data() + i + 1);
    if (i + 1 < count) {
      std::copy(ranks.data() + i + 2, ranks.data() + count, ranks.data() + i + 1);
      std::copy(joined.data() + i + 2, joined.data() + count, joined.data() + i + 1);
      look(i);
    }
    if (i > 0) look(i - 1);
  }
  symbols.resize(count);
}

void BpeModel::merge_long(BpeScratch& s) const {
  const auto count = static_cast<uint32_t>(s.symbols.size());
  s.previous.resize(count);
  s.next.resize(count);
  s.ranks.assign(count, kNoRank);  // of the pair that starts at a place; stale heap entries differ
  s.joined.resize(count);
  s.heap.clear();
  const auto look = [&](uint32_t at) {
    const MergeTable::Entry& entry = merges_.find(s.symbols[at], s.symbols[s.next[at]]);
    s.ranks[at] = entry.rank;
    s.joined[at] = entry.joined;
    if (entry.rank != kNoRank) s.heap.push_back(uint64_t{entry.rank} << 32 | at);
    return entry.rank != kNoRank;
  };
  const auto push = [&](uint32_t at) {
    if (look(at)) std::push_heap(s.heap.begin(), s.heap.end(), std::greater<>());
  };
  for (uint32_t at = 0; at < count; ++at) {
    s.previous[at] = at - 1;
    s.next[at] = at + 1;
    if (at + 1 < count) look(at);
  }
  std::make_heap(s.heap.begin(), s.heap.end(), std::greater<>());
  while (!s.heap.empty()) {
    std::pop_heap(s.heap.begin(), s.heap.end(), std::greater<>());
    const auto rank = static_cast<uint32_t>(s.heap.back() >> 32);
    const auto at = static_cast<uint32_t>(s.heap.back());
    s.heap.pop_back();
    if (s.ranks[at] != rank) continue;
    const uint32_t gone = s.next[at];
    s.symbols[at] = s.joined[at];
    s.symbols[gone] = Vocabulary::kNone;
    s.ranks[gone] = kNoRank;
    s.ranks[at] = kNoRank;
    s.next[at] = s.next[gone];
    if (s.next[at] < count) {
      s.previous[s.next[at]] = at;
      push(at);
    }
    if (at > 0) push(s.previous[at]);
  }
  std::erase(s.symbols, Vocabulary::kNone);
}

}  // namespace isogrid
