#include "data/tokenizer/vocabulary.h"

#include <bit>
#include <cstring>
#include <random>

namespace isogrid {
namespace {

constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u, kOther = 0xD6E8FEB86659FD93u;

const uint64_t kSecret = [] {
  std::random_device source;
  return uint64_t{source()} << 32 | source();
}();

uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

template <typename Word>
uint64_t word_at(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

}  // namespace

uint64_t hash_bytes(std::string_view text) {
  const char* p = text.data();
  size_t left = text.size();
  uint64_t state = left * kOdd ^ kSecret;
  for (; left > 16; left -= 16, p += 16)
    state = mix(state ^ word_at<uint64_t>(p), word_at<uint64_t>(p + 8) ^ kOther);
  uint64_t a = 0, b = 0;
  if (left >= 8) {
    a = word_at<uint64_t>(p);
    b = word_at<uint64_t>(p + left - 8);
  } else if (left >= 4) {
    a = word_at<uint32_t>(p);
    b = word_at<uint32_t>(p + left - 4);
  } else if (left > 0) {
    a = static_cast<unsigned char>(p[0]);
    b = uint64_t{static_cast<unsigned char>(p[left / 2])} << 8 |
        static_cast<unsigned char>(p[left - 1]);
  }
  return mix(a ^ state, b ^ kOdd);
}

uint64_t hash_pair(uint64_t pair) { return mix(pair ^ kSecret, kOdd); }

void Vocabulary::reserve(size_t tokens, size_t bytes) {
  arena_.reserve(bytes);
  places_.reserve(tokens);
  rehash(std::bit_ceil(tokens * 2 + 8));
}

bool Vocabulary::add(std::string_view token, int32_t id) {
  const uint64_t hash = hash_bytes(token);
  const auto index = static_cast<size_t>(id);
  if (token.empty() && index >= places_.size()) {
    places_.resize(index + 1);
    ++count_;
    return true;
  }
  if (find(token, hash) != kNone || !this->token(id).empty()) return false;
  if (places_.size() <= index) places_.resize(index + 1);
  places_[index] = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(token.size())};
  arena_.append(token);
  ++count_;
  if (count_ * 2 > slots_.size()) {
    rehash(slots_.empty() ? 16 : slots_.size() * 2);
    return true;  // rehash walked places_, the new token included
  }
  size_t slot = hash & (slots_.size() - 1);
  while (slots_[slot].id != kNone) slot = (slot + 1) & (slots_.size() - 1);
  slots_[slot] = {static_cast<uint32_t>(hash >> 32), id};
  return true;
}

int32_t Vocabulary::find(std::string_view token, uint64_t hash) const {
  if (slots_.empty()) return kNone;
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t slot = hash & (slots_.size() - 1);; slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot].id == kNone) return kNone;
    if (slots_[slot].tag == tag && this->token(slots_[slot].id) == token) return slots_[slot].id;
  }
}

void Vocabulary::rehash(size_t slots) {
  slots_.assign(slots, Slot{});
  for (size_t id = 0; id < places_.size(); ++id) {
    const std::string_view text = token(static_cast<int32_t>(id));
    if (text.empty()) continue;
    const uint64_t hash = hash_bytes(text);
    size_t slot = hash & (slots - 1);
    while (slots_[slot].id != kNone) slot = (slot + 1) & (slots - 1);
    slots_[slot] = {static_cast<uint32_t>(hash >> 32), static_cast<int32_t>(id)};
  }
}

}  // namespace isogrid
