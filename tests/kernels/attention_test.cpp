#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/kernels/instruction_set.h"

namespace isogrid::kernels {
namespace {

using Numbers = std::vector<double>;

struct AttentionCase {
  AttentionShape shape;
  std::vector<AttentionSpan> spans;
};

int64_t tokens_of(const AttentionCase& c, int64_t AttentionSpan::*first,
                  int64_t AttentionSpan::*count) {
  int64_t tokens = 0;
  for (const AttentionSpan& span : c.spans) tokens = std::max(tokens, span.*first + span.*count);
  return tokens;
}

/// Attention and its gradients by their definition, in double.
struct SlowAttention {
  const AttentionCase& c;
  const Numbers &q, &k, &v, &d_out;
  Numbers out, log_sum_exp, d_q, d_k, d_v;

  SlowAttention(const AttentionCase& the_case, const Numbers& queries, const Numbers& keys,
                const Numbers& values, const Numbers& d_output)
      : c(the_case),
        q(queries),
        k(keys),
        v(values),
        d_out(d_output),
        out(q.size()),
        log_sum_exp(q.size() / static_cast<size_t>(c.shape.head_dim)),
        d_q(q.size()),
        d_k(k.size()),
        d_v(k.size()) {
    for (const AttentionSpan& span : c.spans)
      for (int64_t i = 0; i < span.queries; ++i)
        for (int64_t h = 0; h < c.shape.heads; ++h) row(span, i, h);
  }

  void row(const AttentionSpan& span, int64_t i, int64_t h) {
    const AttentionShape& s = c.shape;
    const auto d = static_cast<size_t>(s.head_dim);
    const int64_t position = span.keys - span.queries + i;
    const int64_t oldest = s.window > 0 ? std::max<int64_t>(0, position - s.window + 1) : 0;
    const auto query = static_cast<size_t>(((span.first_query + i) * s.heads + h) * s.head_dim);
    const auto key_at = [&](int64_t j) {
      return static_cast<size_t>(((span.first_key + j) * s.kv_heads + h / (s.heads / s.kv_heads)) *
                                 s.head_dim);
    };
    Numbers shares;
    double highest = -INFINITY, total = 0, delta = 0;
    for (int64_t j = oldest; j <= position; ++j) {
      double score = 0;
      for (size_t x = 0; x < d; ++x) score += q[query + x] * k[key_at(j) + x];
      shares.push_back(score * static_cast<double>(s.scale));
      highest = std::max(highest, shares.back());
    }
    for (double& share : shares) total += share = std::exp(share - highest);
    log_sum_exp[query / d] = highest + std::log(total);
    for (int64_t j = oldest; j <= position; ++j)
      for (size_t x = 0; x < d; ++x)
        out[query + x] += shares[static_cast<size_t>(j - oldest)] / total * v[key_at(j) + x];
    for (size_t x = 0; x < d; ++x) delta += out[query + x] * d_out[query + x];
    for (int64_t j = oldest; j <= position; ++j) {
      const double share = shares[static_cast<size_t>(j - oldest)] / total;
      double d_share = 0;
      for (size_t x = 0; x < d; ++x) d_share += d_out[query + x] * v[key_at(j) + x];
      const double d_score = share * (d_share - delta) * static_cast<double>(s.scale);
      for (size_t x = 0; x < d; ++x) {
        d_v[key_at(j) + x] += share * d_out[query + x];
        d_k[key_at(j) + x] += d_score * q[query + x];
        d_q[query + x] += d_score * k[key_at(j) + x];
      }
    }
  }
};

/// Buffers of an element type with their exact values in double.
struct Buffer {
  Element element = Element::f32;
  std::vector<float> wide;
  std::vector<uint16_t> half;
  Numbers values;

  Buffer(Element type, std::vector<float> numbers) : element(type), wide(std::move(numbers)) {
    if (element == Element::bf16)
      for (float& number : wide) {
        const uint32_t bits = __builtin_bit_cast(uint32_t, number) & 0xffff0000u;
        half.push_back(static_cast<uint16_t>(bits >> 16));
        number = __builtin_bit_cast(float, bits);
      }
    values.assign(wide.begin(), wide.end());
  }
  void* data() { return element == Element::f32 ? static_cast<void*>(wide.data()) : half.data(); }
  Numbers read() const {
    if (element == Element::f32) return {wide.begin(), wide.end()};
    Numbers numbers;
    for (const uint16_t bits : half)
      numbers.push_back(double{__builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16)});
    return numbers;
  }
};

/// The error relative to the root mean square of what is wanted.
double relative_error(const Numbers& got, const Numbers& wanted) {
  double error = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  return std::sqrt(error / std::max(size, 1e-30));
}

const AttentionCase kCases[] = {
    {{.heads = 1, .kv_heads = 1, .head_dim = 2, .scale = 1}, {{0, 1, 0, 1}}},
    {{.heads = 4, .kv_heads = 2, .head_dim = 24, .scale = 0.2f}, {{0, 70, 0, 70}}},
    {{.heads = 9, .kv_heads = 3, .head_dim = 64, .scale = 0.125f},
     {{0, 20, 0, 20}, {20, 1, 20, 1}, {21, 129, 21, 129}}},
    {{.heads = 2, .kv_heads = 2, .head_dim = 10, .window = 9, .scale = 0.3f}, {{0, 150, 0, 150}}},
    {{.heads = 2, .kv_heads = 1, .head_dim = 130, .window = 64, .scale = 0.1f}, {{0, 65, 0, 65}}},
    {{.heads = 3, .kv_heads = 1, .head_dim = 7, .scale = 0.5f}, {{0, 33, 0, 33}}},
    {{.heads = 2, .kv_heads = 1, .head_dim = 16, .scale = 0.25f}, {{0, 1100, 0, 1100}}},
    {{.heads = 1, .kv_heads = 1, .head_dim = 16, .window = 300, .scale = 0.25f},
     {{0, 1100, 0, 1100}, {1100, 600, 1100, 600}}},
};
const AttentionCase kCasesWithPast[] = {
    {{.heads = 3, .kv_heads = 1, .head_dim = 66, .scale = 0.1f}, {{0, 5, 0, 200}}},
    {{.heads = 2, .kv_heads = 2, .head_dim = 10, .window = 9, .scale = 0.3f},
     {{3, 130, 7, 150}, {0, 3, 0, 7}}},
};

class AttentionKernelTest : public InstructionSetTest {
 protected:
  Buffer random_rows(Element element, int64_t count) {
    return {element, random(static_cast<size_t>(count))};
  }

  void run_forward(const AttentionCase& c, Buffer& q, Buffer& k, Buffer& v, Buffer& out,
                   std::vector<float>& log_sum_exp) {
    const AttentionKernels& kernel = attention_kernels(GetParam());
    for (const AttentionPiece& piece : attention_pieces(c.shape, c.spans)) {
      std::vector<float> scratch(static_cast<size_t>(kernel.scratch(c.shape, piece)), NAN);
      kernel.forward(q.element, c.shape, piece, {q.data(), k.data(), v.data()}, out.data(),
                     log_sum_exp.data(), scratch.data());
    }
  }

  void run_backward(const AttentionCase& c, const AttentionInputs& in, Element element,
                    const AttentionGradients& gradients, bool reversed = false) {
    const AttentionBackwardKernels& kernel = attention_backward_kernels(GetParam());
    for (auto wave : attention_backward_waves(c.shape, c.spans)) {
      if (reversed) std::reverse(wave.begin(), wave.end());
      for (const AttentionPiece& piece : wave) {
        std::vector<float> scratch(static_cast<size_t>(kernel.scratch(c.shape, piece)), NAN);
        kernel.backward(element, c.shape, piece, in, gradients, scratch.data());
      }
    }
  }

  /// Forward and, where there is no past, backward against the definition.
  void check(const AttentionCase& c, Element element, double tolerance) {
    const AttentionShape& s = c.shape;
    const int64_t queries = tokens_of(c, &AttentionSpan::first_query, &AttentionSpan::queries);
    const int64_t keys = tokens_of(c, &AttentionSpan::first_key, &AttentionSpan::keys);
    Buffer q = random_rows(element, queries * s.heads * s.head_dim);
    Buffer k = random_rows(element, keys * s.kv_heads * s.head_dim);
    Buffer v = random_rows(element, keys * s.kv_heads * s.head_dim);
    Buffer d_out = random_rows(element, queries * s.heads * s.head_dim);
    Buffer out = random_rows(element, queries * s.heads * s.head_dim);
    std::vector<float> log_sum_exp(static_cast<size_t>(queries * s.heads));
    const SlowAttention slow(c, q.values, k.values, v.values, d_out.values);
    run_forward(c, q, k, v, out, log_sum_exp);
    EXPECT_LE(relative_error(out.read(), slow.out), tolerance);
    EXPECT_LE(relative_error({log_sum_exp.begin(), log_sum_exp.end()}, slow.log_sum_exp), 1e-5);
    if (queries != keys) return;

    Buffer d_q = random_rows(Element::f32, queries * s.heads * s.head_dim);
    Buffer d_k = random_rows(Element::f32, keys * s.kv_heads * s.head_dim), d_v = d_k;
    const AttentionInputs in{q.data(),   k.data(),     v.data(),
                             out.data(), d_out.data(), log_sum_exp.data()};
    const AttentionGradients gradients{Element::f32, d_q.data(), d_k.data(), d_v.data()};
    run_backward(c, in, element, gradients);
    EXPECT_LE(relative_error(d_q.read(), slow.d_q), tolerance);
    EXPECT_LE(relative_error(d_k.read(), slow.d_k), tolerance);
    EXPECT_LE(relative_error(d_v.read(), slow.d_v), tolerance);
    const auto once = d_q.wide;
    run_backward(c, in, element, gradients, /*reversed=*/true);
    EXPECT_EQ(d_q.wide, once) << "the order within a wave must not matter";
  }
};

TEST_P(AttentionKernelTest, FollowsItsDefinitionInFloat32) {
  for (const AttentionCase& c : kCases) check(c, Element::f32, 2e-6);
  for (const AttentionCase& c : kCasesWithPast) check(c, Element::f32, 2e-6);
}

TEST_P(AttentionKernelTest, FollowsItsDefinitionInBfloat16) {
  for (const AttentionCase& c : kCases) check(c, Element::bf16, 6e-3);
  for (const AttentionCase& c : kCasesWithPast) check(c, Element::bf16, 6e-3);
}

TEST_P(AttentionKernelTest, GradientsOfOneWaveAreRoundedOnce) {
  const AttentionCase c{{.heads = 4, .kv_heads = 2, .head_dim = 24, .scale = 0.2f},
                        {{0, 70, 0, 70}}};
  Buffer q = random_rows(Element::bf16, 70 * 96), d_out = q, out = q, d_q = q;
  Buffer k = random_rows(Element::bf16, 70 * 48), v = k, d_k = k, d_v = k;
  Buffer wide_q = random_rows(Element::f32, 70 * 96), wide_k = random_rows(Element::f32, 70 * 48),
         wide_v = wide_k;
  std::vector<float> log_sum_exp(70 * 4);
  run_forward(c, q, k, v, out, log_sum_exp);
  const AttentionInputs in{q.data(),   k.data(),     v.data(),
                           out.data(), d_out.data(), log_sum_exp.data()};
  run_backward(c, in, Element::bf16, {Element::bf16, d_q.data(), d_k.data(), d_v.data()});
  run_backward(c, in, Element::bf16, {Element::f32, wide_q.data(), wide_k.data(), wide_v.data()});
  const auto rounded = [](float number) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, number);
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  };
  for (size_t i = 0; i < wide_q.wide.size(); ++i) ASSERT_EQ(d_q.half[i], rounded(wide_q.wide[i]));
  for (size_t i = 0; i < wide_v.wide.size(); ++i) ASSERT_EQ(d_v.half[i], rounded(wide_v.wide[i]));
}

TEST_P(AttentionKernelTest, ARowHasTheSameBitsHoweverItsPromptWasCut) {
  for (const Element element : {Element::f32, Element::bf16}) {
    AttentionCase whole{{.heads = 6, .kv_heads = 2, .head_dim = 20, .scale = 0.2f},
                        {{0, 200, 0, 200}}};
    Buffer q = random_rows(element, 200 * 120), out = q, cut = q;
    Buffer k = random_rows(element, 200 * 40), v = k;
    std::vector<float> log_sum_exp(200 * 6), cut_sums(200 * 6);
    run_forward(whole, q, k, v, out, log_sum_exp);
    for (const auto& [begin, end] : {std::pair{0, 1}, {1, 67}, {67, 131}, {131, 200}}) {
      whole.spans = {{begin, end - begin, 0, end}};
      run_forward(whole, q, k, v, cut, cut_sums);
    }
    EXPECT_EQ(cut.read(), out.read());
    EXPECT_EQ(cut_sums, log_sum_exp);
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionKernelTest, kEveryIsa);

}  // namespace
}  // namespace isogrid::kernels
