#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

/// Hashes for tables filled from strangers' files: keyed by a number drawn once per process, so
/// that nobody can prepare keys that collide.
uint64_t hash_bytes(std::string_view text);
uint64_t hash_pair(uint64_t pair);

/// Tokens by id and ids by token: one arena of characters, one flat table.
class Vocabulary {
 public:
  static constexpr int32_t kNone = -1;

  void reserve(size_t tokens, size_t bytes);
  /// False when the token or the id is taken already. An empty token takes its id and is never
  /// found.
  bool add(std::string_view token, int32_t id);

  int32_t find(std::string_view token) const { return find(token, hash_bytes(token)); }
  int32_t find(std::string_view token, uint64_t hash) const;
  /// Empty for ids that are not taken.
  std::string_view token(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= places_.size()) return {};
    const Place place = places_[static_cast<size_t>(id)];
    return {arena_.data() + place.start, place.length};
  }
  /// Number of tokens; ids may leave gaps.
  size_t count() const { return count_; }
  /// One more than the largest id.
  size_t size() const { return places_.size(); }

 private:
  struct Place {
    uint32_t start = 0;
    uint32_t length = 0;
  };
  struct Slot {
    uint32_t tag = 0;
    int32_t id = kNone;
  };
  void rehash(size_t slots);

  std::string arena_;
  std::vector<Place> places_;
  std::vector<Slot> slots_;
  size_t count_ = 0;
};

}  // namespace isogrid
