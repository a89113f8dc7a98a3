#include "core/imatrix_file.h"

#include <gtest/gtest.h>

#include <cmath>

#include <cerrno>
#include <cmath>

#include "tests/core/faulty_io.h"
#include "tests/core/gguf_bytes.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

ImportanceMatrix two_weights() {
  ImportanceMatrix matrix;
  matrix.weights["blk.0.attn_q.weight"] = {{8.0f, 0.0f, 2.0f}, 4.0f};
  matrix.weights["blk.0.ffn_down.weight"] = {{1.0f}, 0.0f};
  matrix.datasets = {"story.txt"};
  matrix.chunks = 2;
  matrix.chunk_size = 2;
  return matrix;
}

TEST(ImatrixFile, MeansAreSumsOverTokensAndOnesWhereNoneWereSeen) {
  const ImportanceMatrix matrix = two_weights();
  EXPECT_EQ(matrix.weights.at("blk.0.attn_q.weight").means(),
            (std::vector<float>{2.0f, 0.0f, 0.5f}));
  EXPECT_EQ(matrix.weights.at("blk.0.ffn_down.weight").means(), std::vector<float>{1.0f});
}

TEST(ImatrixFile, TheGgufFormComesBackAsItWas) {
  const TemporaryDirectory folder;
  write_imatrix(folder / "m.gguf", two_weights());
  const ImportanceMatrix back = read_imatrix(folder / "m.gguf");
  EXPECT_EQ(back.weights.at("blk.0.attn_q.weight").squares, (std::vector<float>{8, 0, 2}));
  EXPECT_EQ(back.weights.at("blk.0.attn_q.weight").tokens, 4.0f);
  EXPECT_EQ(back.datasets, std::vector<std::string>{"story.txt"});
  EXPECT_EQ(back.chunks, 2u);
  EXPECT_EQ(back.chunk_size, 2u);
}

TEST(ImatrixFile, TheOldFormKeepsTheMeansTimesThePieces) {
  const TemporaryDirectory folder;
  write_imatrix(folder / "m.dat", two_weights());
  const GgufBytes wanted = GgufBytes()
                               .number(int32_t{2})
                               .number(int32_t{19})
                               .raw("blk.0.attn_q.weight")
                               .number(int32_t{2})  // 4 tokens in pieces of 2
                               .number(int32_t{3})
                               .number(4.0f)
                               .number(0.0f)
                               .number(1.0f)
                               .number(int32_t{21})
                               .raw("blk.0.ffn_down.weight")
                               .number(int32_t{0})
                               .number(int32_t{1})
                               .number(0.0f)
                               .number(int32_t{2})
                               .number(int32_t{9})
                               .raw("story.txt");
  EXPECT_EQ(file_content(folder / "m.dat"), wanted.str());
  const ImportanceMatrix back = read_imatrix(folder / "m.dat");
  EXPECT_EQ(back.weights.at("blk.0.attn_q.weight").means(), (std::vector<float>{2, 0, 0.5f}));
  EXPECT_EQ(back.chunks, 2u);
}

TEST(ImatrixFile, TheOldFormMayEndBehindItsWeights) {
  const GgufBytes file = GgufBytes()
                             .number(int32_t{1})
                             .number(int32_t{1})
                             .raw("w")
                             .number(int32_t{1})
                             .number(int32_t{1})
                             .number(3.0f);
  EXPECT_EQ(parse_imatrix(file.span(), "m.dat").weights.at("w").means(), std::vector<float>{3.0f});
}

GgufBytes gguf_with(const std::string& counts_name, float square, float count) {
  return GgufBytes()
      .begin(2, 2)
      .key("imatrix.chunk_count", 4, uint32_t{1})
      .key("imatrix.chunk_size", 4, uint32_t{8})
      .tensor("w.in_sum2", {1, 1}, 0, 0)
      .tensor(counts_name, {1, 1}, 0, 32)
      .pad()
      .number(square)
      .pad()
      .number(count)
      .pad();
}

TEST(ImatrixFile, RefusesWhatIsNoImportanceMatrix) {
  const auto refused = [](const GgufBytes& file, const char* message) {
    expect_refusal([&] { parse_imatrix(file.span(), "m"); }, ExitCode::refused_input, message);
  };
  refused(GgufBytes(), "number of weights: needs 4 bytes");
  refused(GgufBytes().number(int32_t{0}), "number of weights: came 0");
  refused(GgufBytes().number(int32_t{-5}), "number of weights: came -5");
  refused(GgufBytes().number(int32_t{1}).number(int32_t{INT32_MAX}), "name of a weight: came");
  refused(GgufBytes().number(int32_t{1}).number(int32_t{9}).raw("w"), "name of a weight: needs 9");
  const auto weight = [] { return GgufBytes().number(int32_t{1}).number(int32_t{1}).raw("w"); };
  refused(weight().number(int32_t{1}).number(int32_t{INT32_MAX}), "number of columns: came");
  refused(weight().number(int32_t{1}).number(int32_t{1 << 20}), "values of a weight: needs");
  refused(weight().number(int32_t{-1}), "number of pieces: came -1");
  refused(weight().number(int32_t{1}).number(int32_t{1}).number(NAN), "column 0 is nan");
  refused(weight().number(int32_t{1}).number(int32_t{1}).number(-1.0f), "column 0 is -1");
  refused(gguf_with("other.counts", 1, 1), "'w.counts' is missing");
  refused(gguf_with("w.counts", INFINITY, 1), "column 0 is inf");
  refused(gguf_with("w.counts", 1, -1), "its count is -1");
  refused(GgufBytes().begin(0, 1).text_key("general.type", "model"), "general.type");
}

TEST(ImatrixFile, AFullDiskLeavesNothing) {
  const TemporaryDirectory folder;
  for (int call = 1; call < 6; ++call) {
    FaultyIo io(call, ENOSPC, /*for_good=*/true);
    try {
      write_imatrix(folder / "m.gguf", two_weights(), io);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::io);
    }
    EXPECT_FALSE(std::filesystem::exists(folder / "m.gguf")) << call;
  }
}

}  // namespace
}  // namespace isogrid
