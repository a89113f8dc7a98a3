#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/hash.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

using grids::codec_of;
using kernels::Isa;

constexpr Isa kIsas[] = {Isa::baseline, Isa::avx2, Isa::avx512};

std::vector<float> golden_row() {
  std::vector<float> row(256);
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = static_cast<float>(static_cast<int>((37 * i + 11) % 101) - 50) / 256.0f;
  return row;
}

std::vector<float> golden_importance() {
  std::vector<float> importance(256);
  for (size_t i = 0; i < importance.size(); ++i)
    importance[i] = 1.0f + static_cast<float>(i % 7) / 8.0f;
  return importance;
}

std::vector<std::byte> encoded(const GgufType& type, const std::vector<float>& values,
                               const float* importance = nullptr, Isa isa = Isa::avx512) {
  const auto columns = static_cast<int64_t>(values.size());
  std::vector<std::byte> blocks(*type.row_bytes(values.size()));
  codec_of(type, isa).encode(values.data(), importance, 1, columns, blocks.data());
  return blocks;
}

std::vector<float> decoded(const GgufType& type, const std::vector<std::byte>& blocks,
                           Isa isa = Isa::avx512) {
  std::vector<float> values(blocks.size() / type.bytes * type.block);
  codec_of(type, isa).decode(blocks.data(), static_cast<int64_t>(blocks.size() / type.bytes),
                             values.data());
  return values;
}

std::string hex(const std::vector<std::byte>& bytes) {
  std::string text;
  for (const std::byte each : bytes) {
    text += "0123456789abcdef"[std::to_integer<int>(each) >> 4];
    text += "0123456789abcdef"[std::to_integer<int>(each) & 15];
  }
  return text;
}

struct Golden {
  const char* type;
  const char* first;     // the row's beginning
  const char* plain;     // SHA-256 of the whole row, its beginning
  const char* weighted;  // with importance
};

/// What the formats' own quantiser makes of golden_row().
constexpr Golden kGolden[] = {
    {"Q4_0", "4026f258be1379df359bf147ac0268ce248a", "f28976a6a4281a22", "cb4e48b92f94534c"},
    {"Q4_1", "892640b2f257bd1379cf358ae146ac0268bd2479", "705c163989caf3a3", "9456228f555e1581"},
    {"Q5_0", "4022b4b4a525f4bf7b27e3ae5a16d19d4904c08c38f4", "873cf23ecc36f14a",
     "8acda8e1c257c8f7"},
    {"Q5_1", "532240b2b4b4a525f3bf6b27e2ae5a16d19d4904c07c38f3", "a9647220153650fe",
     "535bb48f99c55ba9"},
    {"Q8_0", "4d169dfb59b61472d02e8be947a50361be1c7ad73593f14fac0a68c62481df3d9af8",
     "b3e0d79d0ed8a0e5", "b3e0d79d0ed8a0e5"},
    {"Q2_K", "bcdfeebeefaceeacdedecddffedeffce6cb51b6c", "dfb04b5710902805", "ee4d8729a238ded0"},
    {"Q3_K", "66cdb366d9336c9936cc9b66cdb366d94d1ae74c", "75f35fdf7e86240d", "248654a9351ecb7f"},
    {"Q4_K", "de0e801afffffffafff8fafaceafbfbcc2278dd3", "0ca4d98a3265a75b", "b3fbf230190e4b0e"},
    {"Q5_K", "860a531afdfdfdfdfefbfdfeffcdedfd26cc9366", "0cda4f1d027dcd58", "3f31b0d4321af9e2"},
    {"Q6_K", "45df28bc069f137cf08ad367f14ade285ed67df5", "9a80509388b85b1f", "70db180cc816d770"},
    {"IQ4_NL", "9816f157ce137adf249be146bd0258ce137a", "0f1d02ef1b4f6fee", "f0064b7e7f0fbf17"},
    {"IQ4_XS", "55833c0ce00ee021f157ce137adf249be146bd02", "ace8672cb5ddb8ef", "043c81d42b544f10"},
    {"MXFP4", "7a7ec056fe9267ec147fda35feb056ed93", "17dfc0bcfb4bf486", "17dfc0bcfb4bf486"},
    {"NVFP4", "0f101010ffa966ee0277dd3477dc35ffb956ee9156ee0267dc247fca347fba56fe9166ed",
     "396b3b93787858bd", "396b3b93787858bd"},
    {"TQ1_0", "466dd2467ad36c7a456dcf466dd3467ad36c7a45", "946d1e5458b826d2", "946d1e5458b826d2"},
    {"TQ2_0", "5861165885166185186186586116588516618518", "0c9d934005ccf6c4", "0c9d934005ccf6c4"},
    {"Q1_0", "4a2eb4b4a5252d6d694b4b5adad29296b6b4", "c416b2c7d3a9d983", "c416b2c7d3a9d983"},
    {"Q2_0", "403224592449164916459245926491645924", "c15c57060ff419fe", "c15c57060ff419fe"},
};

TEST(BlockCodecs, TheGoldenRowEncodesToTheGoldenBytesOnEveryInstructionSet) {
  const std::vector<float> row = golden_row(), importance = golden_importance();
  for (const Golden& golden : kGolden)
    for (const Isa isa : kIsas) {
      const GgufType& type = gguf_type(golden.type);
      const auto plain = encoded(type, row, nullptr, isa);
      EXPECT_TRUE(hex(plain).starts_with(golden.first)) << golden.type << "\n" << hex(plain);
      EXPECT_EQ(to_hex(sha256(plain)).substr(0, 16), golden.plain) << golden.type;
      const auto weighted = encoded(type, row, importance.data(), isa);
      EXPECT_EQ(to_hex(sha256(weighted)).substr(0, 16), golden.weighted) << golden.type;
    }
}

std::string repeated(const char* text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(BlockCodecs, AZeroRowHasTheBytesOfTheFormatAndDecodesToZero) {
  const std::vector<float> zeros(256, 0.0f);
  const struct {
    const char* type;
    std::string first;
  } expected[] = {
      {"Q4_0", "0080" + repeated("88", 16)},
      {"Q4_1", repeated("00", 20)},
      {"Q5_0", "0080ffffffff" + repeated("00", 16)},
      {"Q5_1", repeated("00", 24)},
      {"Q8_0", repeated("00", 34)},
      {"Q2_K", repeated("00", 84)},
      {"Q3_K", repeated("00", 110)},
      {"Q4_K", repeated("00", 144)},
      {"Q5_K", repeated("00", 176)},
      {"Q6_K", repeated("00", 210)},
      {"IQ4_NL", "0000" + repeated("88", 16)},
      {"MXFP4", repeated("00", 17)},
      {"NVFP4", repeated("00", 36)},
      {"TQ1_0", repeated("80", 48) + repeated("7f", 4) + "0000"},
      {"TQ2_0", repeated("55", 64) + "0000"},
      {"Q1_0", "0000" + repeated("ff", 16)},
      {"Q2_0", "0000" + repeated("55", 16)},
  };
  for (const auto& [name, first] : expected)
    for (const Isa isa : kIsas) {
      const auto blocks = encoded(gguf_type(name), zeros, nullptr, isa);
      EXPECT_TRUE(hex(blocks).starts_with(first)) << name << "\n" << hex(blocks);
      for (const float value : decoded(gguf_type(name), blocks, isa)) EXPECT_EQ(value, 0.0f);
    }
}

// The extreme, -2, is code 0 of -8 ... 7, so the step is 0.25; halves go up.
TEST(BlockCodecs, Q4_0StepsFollowFromTheExtreme) {
  std::vector<float> values(32, 0.0f);
  values[0] = -2.0f;
  values[1] = 0.25f;
  values[2] = 1.99f;
  values[17] = 0.375f;
  const auto back = decoded(gguf_type("Q4_0"), encoded(gguf_type("Q4_0"), values));
  EXPECT_EQ(back[0], -2.0f);
  EXPECT_EQ(back[1], 0.25f);
  EXPECT_EQ(back[2], 1.75f);
  EXPECT_EQ(back[17], 0.5f);
}

TEST(BlockCodecs, OfZerosOfBothSignsTheFirstIsTheMinimum) {
  for (const char* name : {"Q4_1", "Q5_1"})
    for (const Isa isa : kIsas) {
      const GgufType& type = gguf_type(name);
      const auto ends = [&](const std::vector<float>& row) {
        return hex(encoded(type, row, nullptr, isa)).substr(0, 8);  // scale and minimum
      };
      std::vector<float> row(32, 0.0f);
      row[20] = -0.0f;
      EXPECT_EQ(ends(row), "00000000") << name;
      row[0] = -0.0f;
      EXPECT_EQ(ends(row), "00000080") << name;
      row[0] = type.name == "Q4_1" ? 15.0f : 31.0f;
      EXPECT_EQ(ends(row), "003c0000") << name;
      row[1] = -0.0f;
      EXPECT_EQ(ends(row), "003c0080") << name;
    }
}

// 127 / 127 = 1: codes are the values, halves away from zero.
TEST(BlockCodecs, Q8_0RoundsHalvesAwayFromZero) {
  std::vector<float> values(32, 0.0f);
  values[0] = 127.0f;
  values[1] = 2.5f;
  values[2] = -2.5f;
  values[3] = 0.49999997f;
  const auto back = decoded(gguf_type("Q8_0"), encoded(gguf_type("Q8_0"), values));
  EXPECT_EQ(back[1], 3.0f);
  EXPECT_EQ(back[2], -3.0f);
  EXPECT_EQ(back[3], 0.0f);
}

TEST(BlockCodecs, EveryInstructionSetDecodesAlikeWhateverTheBytes) {
  for (const grids::CodecRow& row : grids::codec_rows()) {
    const GgufType& type = gguf_type(row.name);
    std::vector<std::byte> blocks(type.bytes * 64);
    uint32_t state = 1;
    for (std::byte& each : blocks)
      each = static_cast<std::byte>((state = state * 1664525u + 1013904223u) >> 24);
    const auto first = decoded(type, blocks, Isa::baseline);
    for (const Isa isa : kIsas) {
      const auto other = decoded(type, blocks, isa);
      for (size_t i = 0; i < first.size(); ++i) {
        uint32_t a, b;
        std::memcpy(&a, &first[i], sizeof a);
        std::memcpy(&b, &other[i], sizeof b);
        if (first[i] != first[i]) continue;
        ASSERT_EQ(a, b) << row.name << " value " << i;
      }
    }
  }
}

TEST(BlockCodecs, RowsAreIndependentOfHowManyAreEncodedTogether) {
  const std::vector<float> importance = golden_importance();
  std::vector<float> rows;
  for (int i = 0; i < 5; ++i)
    for (const float value : golden_row()) rows.push_back(value * static_cast<float>(1 + i));
  for (const grids::CodecRow& row : grids::codec_rows()) {
    const GgufType& type = gguf_type(row.name);
    const uint64_t row_bytes = *type.row_bytes(256);
    std::vector<std::byte> together(5 * row_bytes), one(row_bytes);
    for (const float* weights : {static_cast<const float*>(nullptr), importance.data()}) {
      codec_of(type).encode(rows.data(), weights, 5, 256, together.data());
      for (uint64_t i = 0; i < 5; ++i) {
        codec_of(type).encode(rows.data() + 256 * i, weights, 1, 256, one.data());
        EXPECT_EQ(std::memcmp(one.data(), together.data() + i * row_bytes, row_bytes), 0)
            << row.name << " row " << i;
      }
    }
  }
}

TEST(BlockCodecs, AScaleBeyondFloat16IsFound) {
  std::vector<float> values(96, 1.0f);
  values[40] = 1e6f;  // /8 is beyond 65504
  const GgufType& type = gguf_type("Q4_0");
  const auto blocks = encoded(type, values);
  EXPECT_EQ(grids::first_broken_block(type, blocks.data(), 3), 1);
  EXPECT_EQ(grids::first_broken_block(type, blocks.data(), 1), -1);
}

}  // namespace
}  // namespace isogrid
