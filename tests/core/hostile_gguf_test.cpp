// Files somebody crafted, each refused with its own message. Most stand for a fault that a reader
// of this format has had.
#include <gtest/gtest.h>

#include <functional>

#include "core/gguf.h"
#include "tests/core/gguf_bytes.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

constexpr uint64_t kHuge = uint64_t{1} << 60;

struct HostileFile {
  const char* what;
  std::function<void(GgufBytes&)> write;
  const char* message;
};

const HostileFile kBeginnings[] = {
    {"empty", [](GgufBytes&) {}, "magic"},
    {"three bytes", [](GgufBytes& f) { f.raw("GGU"); }, "magic"},
    {"another magic", [](GgufBytes& f) { f.raw("GGML").zeros(64); }, "magic"},
    {"magic alone", [](GgufBytes& f) { f.raw("GGUF"); }, "version: needs 4 bytes"},
    {"version 1", [](GgufBytes& f) { f.begin(0, 0, 1); }, "version: came 1"},
    {"version 4", [](GgufBytes& f) { f.begin(0, 0, 4); }, "version: came 4"},
    {"big-endian", [](GgufBytes& f) { f.begin(0, 0, 0x03000000); }, "big-endian"},
    {"counts cut off", [](GgufBytes& f) { f.raw("GGUF").number(3).zeros(8); },
     "key count: needs 8 bytes"},
    {"more tensors than bytes", [](GgufBytes& f) { f.begin(1000, 0).zeros(64); },
     "tensor count: came 1000, but the"},
    {"2^60 tensors", [](GgufBytes& f) { f.begin(kHuge, 0); }, "tensor count: came"},
    {"2^64 - 1 tensors", [](GgufBytes& f) { f.begin(UINT64_MAX, 0); }, "tensor count: came"},
    {"2^60 keys", [](GgufBytes& f) { f.begin(0, kHuge); }, "key count: came"},
    {"more keys than bytes", [](GgufBytes& f) { f.begin(0, 90'000).zeros(500); },
     "key count: came 90000, but the 500 bytes"},
};

const HostileFile kKeys[] = {
    {"a key without name", [](GgufBytes& f) { f.begin(0, 1).text_key("", "x"); },
     "its name has 0 bytes"},
    {"a key of 2^64 - 1 bytes", [](GgufBytes& f) { f.begin(0, 1).number(UINT64_MAX).zeros(64); },
     "its name has 18446744073709551615 bytes"},
    {"a key longer than the file",
     [](GgufBytes& f) { f.begin(0, 1).number(uint64_t{9000}).zeros(64); },
     "key 0: needs 9000 bytes, but only 64 follow"},
    {"an unknown type", [](GgufBytes& f) { f.begin(0, 1).key("k", 13, uint64_t{0}); },
     "key 'k': type: came 13"},
    {"a type of 2^32 - 1", [](GgufBytes& f) { f.begin(0, 1).key("k", UINT32_MAX, uint64_t{0}); },
     "key 'k': type: came 4294967295"},
    {"a string beyond the end",
     [](GgufBytes& f) { f.begin(0, 1).text("k").number(uint32_t{8}).number(kHuge).zeros(8); },
     "key 'k': needs 1152921504606846976 bytes"},
    {"a string whose length wraps",
     [](GgufBytes& f) { f.begin(0, 1).text("k").number(uint32_t{8}).number(UINT64_MAX).zeros(8); },
     "key 'k': needs 18446744073709551615 bytes"},
    {"an array of arrays", [](GgufBytes& f) { f.begin(0, 1).array_key("k", 9, 1).zeros(32); },
     "arrays of arrays"},
    {"an array of an unknown type",
     [](GgufBytes& f) { f.begin(0, 1).array_key("k", 99, 1).zeros(32); },
     "key 'k': element: type: came 99"},
    {"an array of 2^61 numbers, whose bytes wrap to nothing",
     [](GgufBytes& f) { f.begin(0, 1).array_key("k", 10, uint64_t{1} << 61).zeros(32); },
     "key 'k': length: came 2305843009213693952"},
    {"160 bytes that ask for gigabytes of strings",
     [](GgufBytes& f) { f.begin(0, 1).array_key("k", 8, uint64_t{1} << 30).zeros(100); },
     "key 'k': length: came 1073741824, but the 100 bytes"},
    {"a string inside an array beyond the end",
     [](GgufBytes& f) { f.begin(0, 1).array_key("k", 8, 2).text("a").number(kHuge).zeros(16); },
     "key 'k': needs"},
    {"a bool of 2", [](GgufBytes& f) { f.begin(0, 1).key("k", 7, uint8_t{2}).zeros(8); },
     "key 'k': a bool is neither 0 nor 1"},
    {"a bool of 255 in an array",
     [](GgufBytes& f) { f.begin(0, 1).array_key("k", 7, 2).raw("\x01\xff").zeros(8); },
     "key 'k': a bool is neither 0 nor 1"},
    {"a key twice",
     [](GgufBytes& f) { f.begin(0, 2).key("k", 4, uint32_t{1}).key("k", 4, uint32_t{2}); },
     "key 'k' appears twice"},
    {"an alignment of another type",
     [](GgufBytes& f) { f.begin(0, 1).text_key("general.alignment", "32"); },
     "key 'general.alignment': came string, allowed is u32"},
    {"an alignment of 0",
     [](GgufBytes& f) { f.begin(0, 1).key("general.alignment", 4, uint32_t{0}); },
     "key 'general.alignment': came 0"},
    {"an alignment of 24",
     [](GgufBytes& f) { f.begin(0, 1).key("general.alignment", 4, uint32_t{24}); },
     "key 'general.alignment': came 24"},
    {"an alignment of 2^31",
     [](GgufBytes& f) { f.begin(0, 1).key("general.alignment", 4, uint32_t{1} << 31); },
     "key 'general.alignment': came 2147483648"},
};

const HostileFile kTensors[] = {
    {"a tensor without name", [](GgufBytes& f) { f.begin(1, 0).tensor("", {1}, 0, 0).zeros(64); },
     "tensor 0: name: has 0 bytes"},
    {"a tensor's name of 64 bytes",
     [](GgufBytes& f) { f.begin(1, 0).tensor(std::string(64, 'a'), {1}, 0, 0).zeros(64); },
     "tensor 0: name: has 64 bytes"},
    {"a tensor's name of 2^63 bytes",
     [](GgufBytes& f) { f.begin(1, 0).number(uint64_t{1} << 63).zeros(64); }, "tensor 0: name"},
    {"a line break in a tensor's name",
     [](GgufBytes& f) { f.begin(1, 0).tensor("a\nb", {1}, 0, 0).zeros(64); }, "control characters"},
    {"a tensor's name that is no UTF-8",
     [](GgufBytes& f) { f.begin(1, 0).tensor("a\xff", {1}, 0, 0).zeros(64); }, "no UTF-8"},
    {"no dimensions", [](GgufBytes& f) { f.begin(1, 0).tensor("t", {}, 0, 0).zeros(64); },
     "tensor 't': n_dims: came 0"},
    {"five dimensions",
     [](GgufBytes& f) {
       f.begin(1, 0).tensor("t", {1, 1, 1, 1, 1}, 0, 0).zeros(64);
     },
     "tensor 't': n_dims: came 5"},
    {"2^32 - 1 dimensions",
     [](GgufBytes& f) { f.begin(1, 0).text("t").number(UINT32_MAX).zeros(64); },
     "tensor 't': n_dims: came 4294967295"},
    {"a dimension of zero",
     [](GgufBytes& f) {
       f.begin(1, 0).tensor("t", {4, 0}, 0, 0).zeros(64);
     },
     "tensor 't': dims[1]: came 0"},
    {"a negative dimension",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {UINT64_MAX}, 0, 0).zeros(64); },
     "tensor 't': dims[0]: came 18446744073709551615"},
    {"dimensions whose product wraps to zero",
     [](GgufBytes& f) {
       f.begin(1, 0).tensor("t", {uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0).zeros(64);
     },
     "tensor 't': dims: its size does not fit"},
    {"dimensions whose product wraps to one row",
     [](GgufBytes& f) {
       f.begin(1, 0).tensor("t", {32, uint64_t{1} << 59, 32, 1}, 2, 0).zeros(64);
     },
     "tensor 't': dims: its size does not fit"},
    {"bytes that wrap where elements do not",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {uint64_t{1} << 62}, 0, 0).zeros(64); },
     "tensor 't': dims: its size does not fit"},
    {"an unknown tensor type",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {32}, 4, 0).zeros(64); },
     "tensor 't': type: came 4"},
    {"a tensor type of 2^32 - 1",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {32}, UINT32_MAX, 0).zeros(64); },
     "tensor 't': type: came 4294967295"},
    {"half a block", [](GgufBytes& f) { f.begin(1, 0).tensor("t", {16}, 2, 0).zeros(64); },
     "tensor 't': dims[0]: came 16, Q4_0 needs a multiple of 32"},
    {"rows of 255 values in blocks of 256",
     [](GgufBytes& f) {
       f.begin(1, 0).tensor("t", {255, 256}, 12, 0).zeros(64);
     },
     "Q4_K needs a multiple of 256"},
    {"a tensor twice",
     [](GgufBytes& f) {
       f.begin(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).pad().zeros(64);
     },
     "tensor 't' appears twice"},
};

const HostileFile kData[] = {
    {"an offset that is not aligned",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {8}, 0, 1).pad().zeros(64); },
     "tensor 't': offset: came 1, expected is 0"},
    {"two tensors on the same bytes",
     [](GgufBytes& f) {
       f.begin(2, 0).tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 0).pad().zeros(64);
     },
     "tensor 'b': offset: came 0, expected is 32"},
    {"a hole between tensors",
     [](GgufBytes& f) {
       f.begin(2, 0).tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 64).pad().zeros(128);
     },
     "tensor 'b': offset: came 64, expected is 32"},
    {"an offset of 2^64 - 32",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {8}, 0, UINT64_MAX - 31).pad().zeros(64); },
     "tensor 't': offset: came 18446744073709551584"},
    {"a tensor beyond the end",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {1 << 20}, 0, 0).pad().zeros(64); },
     "is the file cut off?"},
    {"a tensor of 2^61 bytes in a file of 96",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {uint64_t{1} << 59}, 0, 0).pad().zeros(64); },
     "is the file cut off?"},
    {"a second tensor beyond the end, by sizes that add up to more than 64 bits",
     [](GgufBytes& f) {
       f.begin(2, 0).tensor("a", {8}, 0, 0).tensor("b", {uint64_t{1} << 58}, 0, 32);
       f.pad().zeros(64);
     },
     "tensor 'b': offset: its"},
    {"bytes behind the last tensor",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {8}, 0, 0).pad().zeros(64); },
     "data: 32 bytes follow the last tensor, 't'"},
    {"data without tensors", [](GgufBytes& f) { f.begin(0, 0).pad().zeros(64); },
     "but there is no tensor"},
    {"the padding before the data cut off",
     [](GgufBytes& f) { f.begin(1, 0).tensor("t", {1}, 0, 0); }, "padding before the data"},
};

void expect_all_refused(std::span<const HostileFile> files) {
  for (const HostileFile& file : files) {
    SCOPED_TRACE(file.what);
    GgufBytes bytes;
    file.write(bytes);
    expect_refusal([&] { parse_gguf(bytes.span(), "evil.gguf"); }, ExitCode::refused_input,
                   file.message);
    expect_refusal([&] { parse_gguf(bytes.span(), "evil.gguf"); }, ExitCode::refused_input,
                   "evil.gguf: ");
  }
}

TEST(HostileGguf, BeginningsAreRefused) { expect_all_refused(kBeginnings); }
TEST(HostileGguf, KeysAreRefused) { expect_all_refused(kKeys); }
TEST(HostileGguf, TensorsAreRefused) { expect_all_refused(kTensors); }
TEST(HostileGguf, DataAreRefused) { expect_all_refused(kData); }

TEST(HostileGguf, EveryTruncationOfAGoodFileIsRefusedOrWhole) {
  GgufBytes file;
  file.begin(1, 2).text_key("general.architecture", "qwen3");
  file.array_key("words", 8, 2).text("one").text("two");
  file.tensor("t", {32, 2}, 2, 0).pad().zeros(64);
  for (size_t size = 0; size < file.str().size() - 28; ++size) {
    const std::string cut = file.str().substr(0, size);
    expect_refusal([&] { parse_gguf(as_bytes(cut), "cut.gguf"); }, ExitCode::refused_input,
                   "cut.gguf: ");
  }
}

TEST(HostileGguf, AMissingFileIsMissingAndAFolderIsNone) {
  const TemporaryDirectory folder;
  expect_refusal([&] { GgufFile{folder / "none.gguf"}; }, ExitCode::missing_input, "none");
  expect_refusal([&] { GgufFile{folder.path().string()}; }, ExitCode::refused_input, "");
}

}  // namespace
}  // namespace isogrid
