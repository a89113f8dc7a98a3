// Files somebody made to hurt a reader: each is refused with exit code 65 and a message that names
// what is wrong with it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/foreign_files.h"
#include "core/safetensors.h"
#include "tests/core/refusal.h"
#include "tests/core/safetensors_bytes.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

struct HostileSafetensors {
  const char* attack;
  std::string bytes;
  const char* names;  // what the message has to mention
};

/// One tensor 'x' whose fields are given, with `data` bytes behind it.
std::string one(const std::string& fields, size_t data = 4) {
  return safetensors_bytes("{\"x\":{" + fields + "}}", std::string(data, '\0'));
}

std::string shaped(const std::string& shape, const std::string& offsets, size_t data = 4) {
  return one(R"("dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets, data);
}

std::vector<HostileSafetensors> header_attacks() {
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  return {
      {"nothing at all", "", "header length"},
      {"seven bytes", "1234567", "header length"},
      {"a header longer than the file", length_field(1000) + "{}", "header length"},
      {"the largest length", length_field(~uint64_t{0}) + "{}", "header length"},
      {"a length that wraps when 8 is added", length_field(~uint64_t{0} - 7) + "{}",
       "header length"},
      {"a header above the limit", length_field(100'000'001) + "{}", "header length"},
      {"an empty header", length_field(0), "starts with '{'"},
      {"padding before the header", safetensors_bytes(" {}"), "starts with '{'"},
      {"a list for a header", safetensors_bytes("[]"), "starts with '{'"},
      {"a second value", safetensors_bytes("{}{}"), "after the end"},
      {"a NUL for padding", safetensors_bytes(std::string("{}\0", 3)), "after the end"},
      {"a header cut off", safetensors_bytes(R"({"x":{"dtype":"F32")"), "end of the file"},
      {"a tensor that is a number", safetensors_bytes(R"({"x":5})"), "tensor 'x'"},
      {"a tensor that is null", safetensors_bytes(R"({"x":null})"), "tensor 'x'"},
      {"no dtype", one(R"("shape":[1],"data_offsets":[0,4])"), "dtype is missing"},
      {"no shape", one(R"("dtype":"F32","data_offsets":[0,4])"), "shape is missing"},
      {"no offsets", one(R"("dtype":"F32","shape":[1])"), "data_offsets is missing"},
      {"two shapes", one(good + R"(,"shape":[1])"), "'shape' appears twice"},
      {"two dtypes", one(good + R"(,"dtype":"F64")"), "'dtype' appears twice"},
      {"two offsets", one(good + R"(,"data_offsets":[0,4])"), "'data_offsets' appears twice"},
      {"an unknown field", one(good + R"(,"code":"import os")"), "'code'"},
      {"an unknown dtype", one(R"("dtype":"F128","shape":[1],"data_offsets":[0,4])"), "dtype"},
      {"a dtype that is a number", one(R"("dtype":7,"shape":[1],"data_offsets":[0,4])"), "dtype"},
      {"a name twice", safetensors_bytes("{\"x\":{" + good + "},\"x\":{" + good + "}}", "1234"),
       "x"},
      {"an empty tensor twice",
       safetensors_bytes(
           R"({"e":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"e":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})"),
       "'e' appears twice"},
      {"a name of 1,025 bytes",
       safetensors_bytes("{\"" + std::string(1025, 'n') + "\":{" + good + "}}", "1234"), "name"},
      {"a control character in a name", safetensors_bytes(R"({"a\u0007":{)" + good + "}}", "1234"),
       "name"},
      {"a NUL in a name", safetensors_bytes(R"({"a\u0000b":{)" + good + "}}", "1234"), "name"},
      {"bytes that are no UTF-8 in a name", safetensors_bytes("{\"\xff\":{" + good + "}}", "1234"),
       "UTF-8"},
      {"half a surrogate pair in a name", safetensors_bytes(R"({"\ud800":{)" + good + "}}", "1234"),
       "surrogate"},
      {"ten thousand brackets", safetensors_bytes("{\"x\":" + std::string(10'000, '[')),
       "tensor 'x'"},
      {"nesting inside a field", one(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"),
       "shape"},
      {"metadata that is a list", safetensors_bytes(R"({"__metadata__":[]})"), "__metadata__"},
      {"metadata with a number", safetensors_bytes(R"({"__metadata__":{"a":1}})"), "__metadata__"},
      {"nested metadata", safetensors_bytes(R"({"__metadata__":{"a":{"b":"c"}}})"), "__metadata__"},
      {"metadata twice", safetensors_bytes(R"({"__metadata__":{},"__metadata__":{}})"),
       "__metadata__"},
      {"a metadata key twice", safetensors_bytes(R"({"__metadata__":{"a":"","a":""}})"),
       "__metadata__"},
  };
}

std::vector<HostileSafetensors> size_attacks() {
  return {
      {"a shape that is no list", shaped("4", "[0,4]"), "shape"},
      {"a negative dimension", shaped("[-1]", "[0,4]"), "shape"},
      {"a fractional dimension", shaped("[1.0]", "[0,4]"), "shape"},
      {"a dimension beyond 64 bits", shaped("[99999999999999999999]", "[0,4]"), "shape"},
      {"a dimension of 2^63", shaped("[9223372036854775808]", "[0,4]"), "shape"},
      {"nine dimensions", shaped("[1,1,1,1,1,1,1,1,1]", "[0,4]"), "shape"},
      {"a product that wraps to zero", shaped("[4294967296,4294967296]", "[0,0]", 0), "shape"},
      {"a product that wraps to the size", shaped("[4611686018427387905]", "[0,4]"), "shape"},
      {"a zero that hides an overflow", shaped("[0,4294967296,4294967296]", "[0,0]", 0), "shape"},
      {"more bytes than the shape has", shaped("[1]", "[0,8]", 8), "data_offsets"},
      {"fewer bytes than the shape has", shaped("[2]", "[0,4]"), "data_offsets"},
      {"half a byte", one(R"("dtype":"F4","shape":[1],"data_offsets":[0,0])", 0), "shape"},
      {"offsets that are no list", shaped("[1]", "4"), "data_offsets"},
      {"one offset", shaped("[1]", "[0]"), "data_offsets"},
      {"three offsets", shaped("[1]", "[0,4,8]"), "data_offsets"},
      {"a negative offset", shaped("[1]", "[-4,0]"), "data_offsets"},
      {"an offset beyond 64 bits", shaped("[1]", "[0,18446744073709551620]"), "data_offsets"},
      {"begin behind end", shaped("[1]", "[4,0]"), "data_offsets"},
      {"an end that wraps", shaped("[1]", "[18446744073709551612,0]"), "data_offsets"},
      {"data beyond the file", shaped("[2]", "[0,8]", 4), "cut off"},
      {"data left over", shaped("[1]", "[0,4]", 5), "data_offsets"},
      {"a hole before the first tensor", shaped("[1]", "[4,8]", 8), "leaves a hole"},
      {"a hole between two tensors",
       safetensors_bytes(
           R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
           "123"),
       "leaves a hole"},
      {"two tensors over the same bytes",
       safetensors_bytes(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
           "123"),
       "overlaps"},
      {"one tensor inside another",
       safetensors_bytes(
           R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
           "123"),
       "overlaps"},
      {"an empty tensor far outside", shaped("[0]", "[1000000,1000000]", 0), "leaves a hole"},
  };
}

TEST(HostileSafetensors, AreRefusedByName) {
  size_t count = 0;
  for (const auto& attacks : {header_attacks(), size_attacks()})
    for (const auto& [attack, bytes, names] : attacks) {
      SCOPED_TRACE(attack);
      expect_refusal([&] { parse_safetensors(as_bytes(bytes), "f.safetensors"); },
                     ExitCode::refused_input, names);
      expect_refusal([&] { parse_safetensors(as_bytes(bytes), "f.safetensors"); },
                     ExitCode::refused_input, "f.safetensors");
      ++count;
    }
  EXPECT_GE(count, 60u);
}

TEST(HostileSafetensors, EveryCutAndEveryFlippedBitIsHandled) {
  const std::string good = safetensors_bytes(
      R"({"a":{"dtype":"U8","shape":[2,1],"data_offsets":[0,2]},"b":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}})",
      "1234");
  ASSERT_NO_THROW(parse_safetensors(as_bytes(good), "f"));
  for (size_t length = 0; length < good.size(); ++length)
    expect_refusal([&] { parse_safetensors(as_bytes(good).first(length), "f"); },
                   ExitCode::refused_input, "f");
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    try {
      parse_safetensors(as_bytes(flipped), "f");  // a name or the data may change
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::refused_input);
    }
  }
}

TEST(ForeignFiles, AreRefusedByNameOrByTheirFirstBytes) {
  const TemporaryDirectory folder;
  const std::string pickle("\x80\x02}q\x00.", 6), zip("PK\x03\x04rest of a zip archive"),
      legacy("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", 15),
      text_pickle("ctorch._utils\n_rebuild\n");
  for (const char* name : {"m.bin", "m.pt", "m.PTH", "m.ckpt", "m.pkl", "m.npy", "m.npz", "m.nemo"})
    expect_refusal([&] { SafetensorsFile(folder.write(name, "x")); }, ExitCode::refused_input,
                   "save_pretrained");
  for (const std::string& content :
       {pickle, zip, legacy, text_pickle, std::string("\x93NUMPY\x01\x00v", 9)})
    expect_refusal([&] { SafetensorsFile(folder.write("m.safetensors", content)); },
                   ExitCode::refused_input, "save_pretrained");
  expect_refusal([&] { refuse_foreign_file(folder / "missing.bin"); }, ExitCode::missing_input,
                 "missing");
}

TEST(ForeignFiles, AHeaderLengthThatLooksLikePickleIsNone) {
  const TemporaryDirectory folder;
  const std::string json = "{}" + std::string(0x0280 - 2, ' ');  // length field 80 02 00 ...
  EXPECT_NO_THROW(SafetensorsFile(folder.write("m.safetensors", safetensors_bytes(json))));
}

}  // namespace
}  // namespace isogrid
