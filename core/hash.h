#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/io.h"

namespace isogrid {

using Sha256Digest = std::array<uint8_t, 32>;

/// SHA-256 of bytes that arrive in pieces; uses the processor's SHA instructions where it has them.
class Sha256 {
 public:
  void update(ByteSpan bytes);
  /// The digest of everything so far. The object may not be used afterwards.
  Sha256Digest finish();

 private:
  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> pending_{};
  uint64_t length_ = 0;
};

Sha256Digest sha256(ByteSpan bytes);
std::string to_hex(const Sha256Digest& digest);

/// Compression of whole 64-byte blocks. The portable one is the specification of the other.
void sha256_blocks_portable(uint32_t* state, const std::byte* blocks, size_t count);
void sha256_blocks_native(uint32_t* state, const std::byte* blocks, size_t count);
bool sha256_is_native();

}  // namespace isogrid
