#include "models/attention.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "tests/models/tolerance.h"

namespace isogrid {
namespace {

using test::relative_difference;
using test::tolerance;

struct AttentionShape {
  at::ScalarType type;
  int64_t heads, kv_heads, head_dim, window;
  bool norms, rotates;
  std::vector<int64_t> ends;
};

DecoderConfig config_of(const AttentionShape& c) {
  DecoderConfig config;
  config.layers = 1;
  config.heads = c.heads;
  config.kv_heads = c.kv_heads;
  config.head_dim = c.head_dim;
  config.max_position = 4096;
  return config;
}

Attention attention_of(const AttentionShape& c) {
  Attention attention;
  attention.heads = c.heads;
  attention.kv_heads = c.kv_heads;
  attention.head_dim = c.head_dim;
  attention.window = c.window;
  attention.rotates = c.rotates;
  if (c.norms) {
    attention.q_norm.weight = at::randn({c.head_dim}).to(c.type).requires_grad_();
    attention.k_norm.weight = at::randn({c.head_dim}).to(c.type).requires_grad_();
  }
  return attention;
}

class AttentionTest : public testing::TestWithParam<AttentionShape> {
 protected:
  void SetUp() override {
    const AttentionShape& c = GetParam();
    at::manual_seed(7);
    attention = attention_of(c);
    layout = lay_out(config_of(c), c.ends, {}, at::kCPU);
    const int64_t tokens = c.ends.back();
    q = at::randn({tokens, c.heads * c.head_dim}).to(c.type).requires_grad_();
    k = at::randn({tokens, c.kv_heads * c.head_dim}).to(c.type).requires_grad_();
    v = at::randn({tokens, c.kv_heads * c.head_dim}).to(c.type).requires_grad_();
  }

  std::vector<at::Tensor> taken_gradients() {
    std::vector<at::Tensor> gradients;
    std::vector<at::Tensor*> leaves{&q, &k, &v};
    if (GetParam().norms) {
      leaves.push_back(&attention.q_norm.weight);
      leaves.push_back(&attention.k_norm.weight);
    }
    for (at::Tensor* leaf : leaves) {
      gradients.push_back(leaf->grad().clone());
      leaf->mutable_grad() = at::Tensor();
    }
    return gradients;
  }

  Attention attention;
  TokenLayout layout;
  at::Tensor q, k, v;
};

TEST_P(AttentionTest, FunctionEqualsCompositionForwardAndBackward) {
  const at::Tensor seed = at::randn(q.sizes()).to(GetParam().type);
  const at::Tensor expected = attend_composition(attention, q, k, v, layout);
  expected.backward(seed);
  const auto wanted = taken_gradients();
  const at::Tensor got = attend(attention, q, k, v, layout);
  got.backward(seed);
  EXPECT_LE(relative_difference(got, expected), tolerance(GetParam().type));
  const auto gradients = taken_gradients();
  for (size_t i = 0; i < gradients.size(); ++i)
    EXPECT_LE(relative_difference(gradients[i], wanted[i]), tolerance(GetParam().type))
        << "gradient " << i;
}

TEST_P(AttentionTest, ACacheFilledInPiecesGivesTheSameAsOnePass) {
  const AttentionShape& c = GetParam();
  const at::NoGradGuard no_grad;
  const DecoderConfig config = config_of(c);
  const at::Tensor expected = attend(attention, q, k, v, layout);
  KvCache cache(config, layout.documents(), c.type, at::kCPU);
  for (int64_t document = 0; document < layout.documents(); ++document) {
    const int64_t begin = layout.begin(document), length = layout.length(document);
    std::vector<at::Tensor> pieces;
    // One token, then five, then all that is left.
    for (int64_t done = 0, next = 1; done < length; done += next, next = next == 1 ? 5 : length) {
      next = std::min(next, length - done);
      const TokenLayout part = lay_out(config, {next}, {done}, at::kCPU);
      const auto rows = [&](const at::Tensor& x) {
        return x.slice(0, begin + done, begin + done + next);
      };
      pieces.push_back(attend(attention, rows(q), rows(k), rows(v), part, 0, {&cache, {document}}));
      cache.advance(document, next);
    }
    EXPECT_LE(relative_difference(at::cat(pieces, 0), expected.slice(0, begin, begin + length)),
              tolerance(c.type));
  }
}

TEST(AttentionByHand, ADocumentNeverSeesItsNeighbour) {
  const AttentionShape c{at::kFloat, 2, 1, 4, 0, false, true, {3, 7}};
  const Attention attention = attention_of(c);
  const at::NoGradGuard no_grad;
  const at::Tensor q = at::randn({7, 8}), k = at::randn({7, 4}), v = at::randn({7, 4});
  const DecoderConfig config = config_of(c);
  const at::Tensor both = attend(attention, q, k, v, lay_out(config, {3, 7}, {}, at::kCPU));
  const at::Tensor alone = attend(attention, q.slice(0, 3), k.slice(0, 3), v.slice(0, 3),
                                  lay_out(config, {4}, {}, at::kCPU));
  EXPECT_LE(relative_difference(both.slice(0, 3), alone), 1e-6);
  // The first token of a document sees only itself: its output is its own value.
  EXPECT_LE(relative_difference(both[3].slice(0, 0, 4), v[3]), 1e-6);
}

TEST(AttentionByHand, AWindowOfOneReturnsTheTokensOwnValue) {
  const AttentionShape c{at::kFloat, 1, 1, 4, 1, false, true, {600}};
  const at::NoGradGuard no_grad;
  const at::Tensor q = at::randn({600, 4}), k = at::randn({600, 4}), v = at::randn({600, 4});
  const at::Tensor out =
      attend(attention_of(c), q, k, v, lay_out(config_of(c), {600}, {}, at::kCPU));
  EXPECT_LE(relative_difference(out, v), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(
    TypesShapesAndWindows, AttentionTest,
    testing::Values(AttentionShape{at::kFloat, 4, 2, 16, 0, true, true, {5, 6, 40}},
                    AttentionShape{at::kFloat, 3, 3, 10, 0, false, true, {7}},
                    AttentionShape{at::kFloat, 9, 3, 64, 0, false, false, {129}},
                    AttentionShape{at::kFloat, 6, 2, 80, 0, false, true, {1, 66, 200}},
                    AttentionShape{at::kFloat, 5, 5, 130, 70, false, true, {300}},
                    AttentionShape{at::kFloat, 8, 1, 256, 0, true, true, {97}},
                    AttentionShape{at::kFloat, 4, 1, 8, 7, true, true, {20, 23, 700}},
                    AttentionShape{at::kFloat, 2, 1, 6, 300, false, true, {900}},
                    AttentionShape{at::kDouble, 4, 2, 6, 3, true, true, {11, 12}},
                    AttentionShape{at::kHalf, 4, 2, 16, 0, true, true, {12, 33}},
                    AttentionShape{at::kBFloat16, 4, 2, 32, 0, true, true, {64, 70}},
                    AttentionShape{at::kBFloat16, 6, 2, 32, 16, false, true, {100}}));

}  // namespace
}  // namespace isogrid
