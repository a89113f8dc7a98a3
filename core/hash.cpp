#include "core/hash.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/sha256_constants.h"

namespace isogrid {
namespace {

uint32_t big_endian_word(const std::byte* bytes) {
  uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word = word << 8 | std::to_integer<uint32_t>(bytes[i]);
  return word;
}

void compress(uint32_t* state, const std::byte* blocks, size_t count) {
  static const bool native = sha256_is_native();
  (native ? sha256_blocks_native : sha256_blocks_portable)(state, blocks, count);
}

}  // namespace

// FIPS 180-4, section 6.2.2.
void sha256_blocks_portable(uint32_t* state, const std::byte* blocks, size_t count) {
  using std::rotr;
  for (; count > 0; --count, blocks += 64) {
    std::array<uint32_t, 64> w{};
    for (size_t t = 0; t < 16; ++t) w[t] = big_endian_word(blocks + 4 * t);
    for (size_t t = 16; t < 64; ++t) {
      const uint32_t s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ (w[t - 15] >> 3);
      const uint32_t s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ (w[t - 2] >> 10);
      w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = std::to_array(
        {state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]});
    for (size_t t = 0; t < 64; ++t) {
      const uint32_t t1 = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) +
                          kSha256Constants[t] + w[t];
      const uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const std::array<uint32_t, 8> sum{a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; ++i) state[i] += sum[i];
  }
}

void Sha256::update(ByteSpan bytes) {
  size_t filled = length_ % 64;
  length_ += bytes.size();
  if (filled > 0) {
    const size_t taken = std::min(64 - filled, bytes.size());
    std::copy_n(bytes.data(), taken, pending_.data() + filled);
    bytes = bytes.subspan(taken);
    filled += taken;
    if (filled < 64) return;
    compress(state_.data(), pending_.data(), 1);
  }
  const size_t blocks = bytes.size() / 64;
  compress(state_.data(), bytes.data(), blocks);
  std::copy(bytes.begin() + static_cast<std::ptrdiff_t>(blocks * 64), bytes.end(),
            pending_.begin());
}

Sha256Digest Sha256::finish() {
  const uint64_t bits = length_ * 8;
  std::array<std::byte, 72> padding{std::byte{0x80}};
  const size_t zeros = (119 - length_ % 64) % 64;  // up to the last eight bytes of a block
  for (size_t i = 0; i < 8; ++i) padding[1 + zeros + i] = std::byte(bits >> (56 - 8 * i) & 0xff);
  update(ByteSpan(padding).first(1 + zeros + 8));
  Sha256Digest digest{};
  for (size_t i = 0; i < 32; ++i)
    digest[i] = static_cast<uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)) & 0xff);
  return digest;
}

Sha256Digest sha256(ByteSpan bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string to_hex(const Sha256Digest& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace isogrid
