#include "core/gguf.h"

#include <gtest/gtest.h>

#include "core/gguf_writer.h"
#include "tests/core/gguf_bytes.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

GgufTensor tensor_of(const std::string& name, const char* type, std::array<int64_t, 4> dims,
                     uint32_t rank) {
  GgufTensor tensor;
  tensor.name = name;
  tensor.type = &gguf_type(type);
  tensor.dims = dims;
  tensor.rank = rank;
  return tensor;
}

TEST(Gguf, AFileWrittenByHandReadsAsItWasMeant) {
  GgufBytes file;
  file.begin(2, 3).text_key("general.architecture", "qwen3").key("a.count", 4, uint32_t{7});
  file.array_key("words", 8, 2).text("one").text("");
  file.tensor("first", {32, 2}, 2, 0).tensor("second", {3}, 0, 64).pad().zeros(64).zeros(32);
  const GgufHeader header = parse_gguf(file.span(), "x.gguf");
  EXPECT_EQ(header.text("general.architecture"), "qwen3");
  EXPECT_EQ(header.natural("a.count"), 7u);
  EXPECT_EQ(header.texts("words"), (std::vector<std::string_view>{"one", ""}));
  ASSERT_EQ(header.tensors().size(), 2u);
  EXPECT_EQ(header.tensors()[0].shape(), (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(header.tensors()[0].bytes, 36u);
  EXPECT_EQ(header.find_tensor("second")->begin, 64u);
  EXPECT_EQ(header.find_tensor("third"), nullptr);
}

TEST(Gguf, TheLastTensorsPaddingMayBeMissing) {
  GgufBytes file;
  file.begin(1, 0).tensor("x", {3}, 0, 0).pad().zeros(12);
  EXPECT_EQ(parse_gguf(file.span(), "x").tensors()[0].bytes, 12u);
}

TEST(Gguf, WhatIsWrittenComesBack) {
  GgufMetadata metadata;
  metadata.add("general.architecture", "llama");
  metadata.add("u", uint32_t{5});
  metadata.add("f", 0.5f);
  metadata.add("b", true);
  metadata.add("list", std::vector<std::string>{"a", "bc"});
  metadata.add("ints", std::vector<int32_t>{-1, 2});
  metadata.add("u", uint32_t{6});  // keeps its place
  const GgufLayout layout = plan_gguf(
      metadata, {tensor_of("q", "Q8_0", {64, 3, 1, 1}, 2), tensor_of("n", "F32", {5, 1, 1, 1}, 1)});
  const TemporaryDirectory folder;
  const std::string path = folder / "x.gguf";
  write_file_durably(path, layout.file_size, [&](OutputFile& file) {
    append_gguf(file, layout, [](const GgufTensor& tensor, OutputFile& out) {
      out.append(as_bytes(std::string(tensor.bytes, tensor.name[0])));
    });
  });
  const GgufFile file(path);
  EXPECT_EQ(file.file_size(), layout.file_size);
  EXPECT_EQ(file.file_size() % 32, 0u);
  EXPECT_EQ(file.header().natural("u"), 6u);
  EXPECT_EQ(file.header().values()[1].key, "u");
  EXPECT_EQ(file.header().number("f"), 0.5);
  EXPECT_TRUE(file.header().boolean_or("b", false));
  EXPECT_EQ(file.header().numbers("ints"), (std::vector<double>{-1, 2}));
  EXPECT_EQ(as_text(file.bytes(*file.header().find_tensor("n"))), std::string(20, 'n'));
  EXPECT_EQ(as_text(file.bytes(*file.header().find_tensor("q"))), std::string(204, 'q'));
}

TEST(Gguf, AProducerThatWritesTooLittleIsAnInternalError) {
  const GgufLayout layout = plan_gguf({}, {tensor_of("n", "F32", {5, 1, 1, 1}, 1)});
  const TemporaryDirectory folder;
  expect_refusal(
      [&] {
        write_file_durably(folder / "x.gguf", 0, [&](OutputFile& file) {
          append_gguf(file, layout, [](const GgufTensor&, OutputFile&) {});
        });
      },
      ExitCode::internal, "0 bytes produced, 20 announced");
}

TEST(Gguf, AValueOfAnotherTypeIsRefusedWithItsKey) {
  GgufBytes file;
  file.begin(0, 1).key("llama.block_count", 6, 2.5f);
  const GgufHeader header = parse_gguf(file.span(), "x.gguf");
  expect_refusal([&] { header.natural("llama.block_count"); }, ExitCode::refused_input,
                 "x.gguf: key 'llama.block_count': came f32 2.5, allowed is an integer");
  expect_refusal([&] { header.text("general.architecture"); }, ExitCode::refused_input,
                 "key 'general.architecture' is missing");
}

}  // namespace
}  // namespace isogrid
