#include "core/safetensors.h"

#include <gtest/gtest.h>

#include <chrono>

#include "core/finite_scan.h"
#include "core/safetensors_writer.h"
#include "tests/core/refusal.h"
#include "tests/core/safetensors_bytes.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

SafetensorsHeader parsed_header(const std::string& file) {
  return parse_safetensors(as_bytes(file), "f");
}

TEST(Safetensors, ReadsNamesTypesShapesAndPlaces) {
  const auto header = parsed_header(safetensors_bytes(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("s":{"shape":[],"data_offsets":[0,4],"dtype":"F32"},"e":{"dtype":"I64","shape":[0,7],"data_offsets":[4,4]}}  )",
      std::string(16, 'x')));
  EXPECT_EQ(header.metadata().at("format"), "pt");
  ASSERT_EQ(header.tensors().size(), 3u);
  const TensorEntry* b = header.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, Dtype::bf16);
  EXPECT_EQ(b->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(b->begin, 4u);
  EXPECT_EQ(header.find("s")->shape.size(), 0u);
  EXPECT_EQ(header.find("e")->bytes(), 0u);
  EXPECT_EQ(header.find("c"), nullptr);
}

TEST(Safetensors, ReadsAFileWithoutTensors) {
  EXPECT_TRUE(parsed_header(safetensors_bytes("{}")).tensors().empty());
}

TEST(Safetensors, CountsSubByteTypesInBits) {
  EXPECT_EQ(tensor_bytes(Dtype::f4, {3, 2}), 3u);
  EXPECT_EQ(tensor_bytes(Dtype::f6_e2m3, {4}), 3u);
  EXPECT_EQ(tensor_bytes(Dtype::f4, {3}), std::nullopt);
  EXPECT_EQ(tensor_bytes(Dtype::f32, {}), 4u);
  EXPECT_EQ(tensor_bytes(Dtype::f32, {0, int64_t{1} << 62}), std::nullopt);
}

TEST(Safetensors, KnowsEveryDtypeByItsName) {
  for (size_t i = 0; i < kDtypeCount; ++i) {
    const auto dtype = static_cast<Dtype>(i);
    EXPECT_EQ(find_dtype(dtype_name(dtype)), dtype);
  }
}

TEST(Safetensors, WritesWhatItReads) {
  const TemporaryDirectory folder;
  const std::vector<TensorEntry> tensors{{.name = "z", .dtype = Dtype::u8, .shape = {3}},
                                         {.name = "b", .dtype = Dtype::f32, .shape = {2}},
                                         {.name = "a\"\\é", .dtype = Dtype::f32, .shape = {}},
                                         {.name = "w", .dtype = Dtype::i64, .shape = {0}}};
  const SafetensorsLayout layout = plan_safetensors(tensors, {{"format", "pt"}, {"by", "us"}});
  const WrittenFile written =
      write_safetensors(folder / "a", layout, [](const TensorEntry& entry, OutputFile& file) {
        file.append(as_bytes(std::string(entry.bytes(), entry.name[0])));
      });
  const SafetensorsFile file(folder / "a");
  EXPECT_EQ(written.bytes, file.file_size());
  EXPECT_EQ(file.header().data_begin() % 8, 0u);
  EXPECT_EQ(file.header().metadata().at("by"), "us");
  EXPECT_EQ(file.header().tensors().front().name, "w");  // widest type first
  EXPECT_EQ(file.header().tensors().back().name, "z");
  EXPECT_EQ(as_text(file.bytes(*file.header().find("z"))), "zzz");
  EXPECT_EQ(as_text(file.bytes(*file.header().find("a\"\\é"))), "aaaa");
}

// These bytes were made by the reference writer from {"b": F32 [2], "a": BF16 [1]}.
TEST(Safetensors, LaysAFileOutAsTheReferenceDoes) {
  const SafetensorsLayout layout =
      plan_safetensors({{.name = "a", .dtype = Dtype::bf16, .shape = {1}},
                        {.name = "b", .dtype = Dtype::f32, .shape = {2}}});
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]}})";
  EXPECT_EQ(layout.header, safetensors_bytes(json + std::string((8 - json.size() % 8) % 8, ' ')));
}

TEST(Safetensors, RefusesToWriteANameTwice) {
  expect_refusal(
      [] {
        plan_safetensors({{.name = "a", .shape = {}}, {.name = "a", .shape = {}}});
      },
      ExitCode::internal, "'a' would be stored twice");
}

TEST(Safetensors, ReadsTenThousandTensorsInAFewMilliseconds) {
  std::vector<TensorEntry> tensors;
  for (int i = 0; i < 10'000; ++i)
    tensors.push_back({.name = "model.layers." + std::to_string(i) + ".self_attn.q_proj.weight",
                       .dtype = Dtype::bf16,
                       .shape = {4, 8}});
  const std::string file = plan_safetensors(tensors).header + std::string(10'000 * 64, '\0');
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(parsed_header(file).tensors().size(), 10'000u);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  RecordProperty("seconds", std::to_string(taken.count()));
  EXPECT_LT(taken.count(), 0.5);  // generous: sanitizers and busy machines
}

TEST(FiniteScan, FindsTheFirstNonFiniteElement) {
  std::vector<float> values(10'000, 1.5f);
  const auto bytes = [&] { return std::as_bytes(std::span(values)); };
  EXPECT_EQ(first_non_finite(Dtype::f32, bytes()), std::nullopt);
  values[9'000] = -std::numeric_limits<float>::infinity();
  values[7'777] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(first_non_finite(Dtype::f32, bytes()), 7'777u);
  EXPECT_EQ(first_non_finite(Dtype::c64, bytes()), 3'888u);
  EXPECT_EQ(first_non_finite(Dtype::i32, bytes()), std::nullopt);
  const std::vector<uint16_t> halves{0x3c00, 0x7bff, 0xfc00};  // 1, the largest, -inf
  EXPECT_EQ(first_non_finite(Dtype::f16, std::as_bytes(std::span(halves))), 2u);
  EXPECT_EQ(first_non_finite(Dtype::bf16, std::as_bytes(std::span(halves))), std::nullopt);
}

}  // namespace
}  // namespace isogrid
