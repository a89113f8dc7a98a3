#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>

namespace isogrid {

using PhiloxBlock = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

/// Philox4x32 with ten rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011): four random words as a pure function of a counter and a key.
constexpr PhiloxBlock philox4x32(PhiloxBlock counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t left = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t right = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {
        static_cast<uint32_t>(right >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(right),
        static_cast<uint32_t>(left >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(left)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// What a draw is for. Two purposes never share a stream, whatever their coordinates. The numbers
/// are part of every result, so they are never reused or renumbered.
enum class Purpose : uint32_t {
  sampling = 1,
  initial_weights = 2,
  row_order = 3,
  dropout = 4,
  embedding_noise = 5,
  held_out_rows = 6,
  dataset_mix = 7,
  resampling = 8,
  clip_sample = 9,
  scale_directions = 10,
  teacher_negatives = 21,
  sampled_negatives = 22,
  check_vectors = 23,
};

/// Random numbers without state worth saving: draw number n of the stream
/// (seed, purpose, coordinates...) is a pure function of all of these.
class Rng {
 public:
  Rng(uint64_t seed, Purpose purpose, std::initializer_list<uint64_t> coordinates = {})
      : key_(fold(words(seed), static_cast<uint32_t>(purpose), 0)) {
    for (const uint64_t coordinate : coordinates) key_ = fold(key_, coordinate, 1);
  }

  /// The stream `coordinate` below the one of `key`, as the constructor's last coordinate makes it.
  static constexpr PhiloxKey below(PhiloxKey key, uint64_t coordinate) {
    return fold(key, coordinate, 1);
  }

  /// Kernels draw in any order from (key, block number); word i of block n is draw 4n + i.
  PhiloxKey key() const { return key_; }
  PhiloxBlock block(uint64_t number) const {
    return philox4x32({words(number)[0], words(number)[1], 0, 0}, key_);
  }

  uint32_t next() {
    if (drawn_ % 4 == 0) block_ = block(drawn_ / 4);
    return block_[drawn_++ % 4];
  }
  /// In [0, 1), every multiple of 2^-24.
  float uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }
  /// In [0, 1), every multiple of 2^-53.
  double uniform_double() {
    const uint64_t high = next();
    return static_cast<double>((high << 21) ^ (next() >> 11)) * 0x1p-53;
  }

 private:
  static constexpr PhiloxKey words(uint64_t value) {
    return {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)};
  }
  // The third counter word is never zero here, so keys come from blocks that are never handed out.
  static constexpr PhiloxKey fold(PhiloxKey key, uint64_t value, uint32_t kind) {
    const PhiloxBlock mixed = philox4x32({words(value)[0], words(value)[1], 1 + kind, 0}, key);
    return {mixed[0], mixed[1]};
  }

  PhiloxKey key_;
  PhiloxBlock block_{};
  uint64_t drawn_ = 0;
};

}  // namespace isogrid
