#include "calibrate/imatrix.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "models/observe.h"
#include "models/weights.h"
#include "tests/core/refusal.h"

namespace isogrid {
namespace {

CausalLm imatrix_model() {
  return load_model(open_model_folder(ISOGRID_SOURCE_DIR "/tests/golden/llama"),
                    {.compute = at::kFloat});
}

std::vector<int32_t> some_ids(int64_t count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>((7 * i + 3) % 20));
  return ids;
}

ImatrixText pieces_of(int64_t tokens, std::optional<int32_t> bos = {}) {
  ImatrixText text;
  text.chunk_size = tokens;
  text.bos = bos;
  return text;
}

// The first block's q reads the normed embedding, which can be worked out by itself.
at::Tensor first_inputs(const CausalLm& model, std::vector<int64_t> ids) {
  const at::NoGradGuard no_grad;
  const at::Tensor rows = model.embedding->rows(at::tensor(ids), at::kFloat);
  return rms_norm(rows, model.blocks[0].qkv.norm);
}

TEST(Imatrix, SumsTheSquaresOfWhatEachLinearIsGiven) {
  CausalLm model = imatrix_model();
  const std::vector<int32_t> ids = some_ids(19);
  const ImportanceMatrix matrix = compute_imatrix(model, ids, pieces_of(8), {});
  EXPECT_EQ(matrix.chunks, 2u);  // three tokens are left out
  EXPECT_EQ(matrix.weights.size(), 7 * model.blocks.size());
  const at::Tensor inputs = first_inputs(model, {ids.begin(), ids.begin() + 16});
  const at::Tensor wanted = (inputs * inputs).sum(0);
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"}) {
    const ImportanceSums& sums = matrix.weights.at(name);
    EXPECT_EQ(sums.tokens, 16.0f);
    EXPECT_TRUE(at::allclose(at::tensor(sums.squares), wanted, 1e-5, 1e-6)) << name;
  }
}

TEST(Imatrix, APieceBeginsWithTheMarkOfABeginning) {
  CausalLm model = imatrix_model();
  const std::vector<int32_t> ids = some_ids(16);
  const ImportanceMatrix matrix = compute_imatrix(model, ids, pieces_of(8, 1), {});
  std::vector<int64_t> marked(ids.begin(), ids.end());
  marked[0] = marked[8] = 1;
  const at::Tensor inputs = first_inputs(model, marked);
  EXPECT_TRUE(at::allclose(at::tensor(matrix.weights.at("blk.0.attn_q.weight").squares),
                           (inputs * inputs).sum(0), 1e-5, 1e-6));
}

TEST(Imatrix, ATextShorterThanAPieceIsOne) {
  CausalLm model = imatrix_model();
  const ImportanceMatrix matrix = compute_imatrix(model, some_ids(5), {}, {});
  EXPECT_EQ(matrix.chunks, 1u);
  EXPECT_EQ(matrix.weights.at("blk.0.ffn_down.weight").tokens, 5.0f);
  expect_refusal([&] { compute_imatrix(model, {}, {}, {}); }, ExitCode::refused_input, "no token");
}

TEST(Imatrix, NothingIsObservedAfterwards) {
  CausalLm model = imatrix_model();
  compute_imatrix(model, some_ids(8), {}, {});
  int seen = 0;
  const InputObserver observer([&](const Projection&, const at::Tensor&) { ++seen; });
  EXPECT_EQ(seen, 0);
  EXPECT_THROW(compute_imatrix(model, some_ids(8), {}, {}), Error);  // one observer at a time
}

}  // namespace
}  // namespace isogrid
