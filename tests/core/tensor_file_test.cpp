#include "core/tensor_file.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

TEST(TensorFile, KeepsEveryDtypeShapeAndStride) {
  const TemporaryDirectory folder;
  std::vector<NamedTensor> written;
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf, at::kFloat, at::kDouble, at::kChar,
                                    at::kByte, at::kShort, at::kInt, at::kLong, at::kBool})
    written.push_back({at::toString(type), at::arange(6).reshape({2, 3}).to(type)});
  written.push_back({"transposed", at::arange(6, at::kFloat).reshape({2, 3}).t()});
  written.push_back({"scalar", at::arange(6, at::kFloat)[5]});
  written.push_back({"empty", at::empty({0, 4})});
  write_tensors(folder / "a.safetensors", written);

  const auto read = read_tensors(folder / "a.safetensors");
  ASSERT_EQ(read.size(), written.size());
  for (const auto& [name, tensor] : written) {
    const auto found = std::find_if(read.begin(), read.end(),
                                    [&](const NamedTensor& other) { return other.name == name; });
    ASSERT_NE(found, read.end()) << name;
    EXPECT_EQ(found->tensor.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(found->tensor, tensor)) << name;
  }
}

TEST(TensorFile, ATensorOutlivesItsReaderAndNeverChangesTheFile) {
  const TemporaryDirectory folder;
  const std::string path = folder / "a.safetensors";
  write_tensors(path, {{"x", at::ones({4})}});
  at::Tensor x = read_tensors(path).front().tensor;
  x.mul_(3);
  EXPECT_EQ(x[2].item<float>(), 3.0f);
  EXPECT_EQ(read_tensors(path).front().tensor[2].item<float>(), 1.0f);
}

TEST(TensorFile, WritesTheSameBytesInWhateverOrderTensorsCome) {
  const TemporaryDirectory folder;
  const NamedTensor a{"a", at::ones({3})}, b{"b", at::ones({5}).to(at::kBFloat16)};
  EXPECT_EQ(write_tensors(folder / "1", {a, b}).sha256, write_tensors(folder / "2", {b, a}).sha256);
}

TEST(TensorFile, CopiesDataThatIsNotAligned) {
  const TemporaryDirectory folder;
  // A writer that sorts by name may put one odd byte before floats.
  const std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  file += header + std::string("\x07\x00\x00\x80\x3f", 5);
  const auto read = read_tensors(folder.write("a.safetensors", file));
  EXPECT_EQ(read[0].tensor.item<uint8_t>(), 7);
  EXPECT_EQ(read[1].tensor.item<float>(), 1.0f);
}

}  // namespace
}  // namespace isogrid
