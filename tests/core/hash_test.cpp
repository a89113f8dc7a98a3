#include "core/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace isogrid {
namespace {

// FIPS 180-4 examples.
TEST(Sha256, MatchesThePublishedVectors) {
  EXPECT_EQ(to_hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(as_bytes(std::string(1'000'000, 'a')))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotCareHowTheBytesAreCut) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += static_cast<char>(i * 7);
  for (size_t cut = 0; cut <= text.size(); cut += 3) {
    Sha256 hash;
    hash.update(as_bytes(text).first(cut));
    hash.update(as_bytes(text).subspan(cut));
    EXPECT_EQ(hash.finish(), sha256(as_bytes(text))) << cut;
  }
}

TEST(Sha256, InstructionsAndPortableCodeAgree) {
  if (!sha256_is_native()) GTEST_SKIP() << "this processor has no SHA instructions";
  std::string blocks;
  for (int i = 0; i < 64 * 9; ++i) blocks += static_cast<char>(i * i + 3 * i);
  uint32_t portable[8] = {1, 2, 3, 4, 5, 6, 7, 8}, native[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  sha256_blocks_portable(portable, as_bytes(blocks).data(), 9);
  sha256_blocks_native(native, as_bytes(blocks).data(), 9);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(portable[i], native[i]) << i;
}

}  // namespace
}  // namespace isogrid
