#include "models/projection.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/round.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "quant/dense.h"
#include "tests/models/tolerance.h"

namespace isogrid {
namespace {

using test::relative_difference;
using test::tolerance;

/// A source that is never resident: it keeps a latent matrix and serves it rounded to sixteenths,
/// with a straight-through gradient, as a fake-quantised weight does.
class RoundedWeight final : public WeightSource {
 public:
  explicit RoundedWeight(at::Tensor latent) : latent_(std::move(latent)) {}
  int64_t outputs() const override { return latent_.size(0); }
  int64_t inputs() const override { return latent_.size(1); }
  void materialise(at::Tensor& out, int64_t first, int64_t last,
                   const LowRank* delta) const override {
    EXPECT_EQ(delta, nullptr);
    out.copy_(rounded().slice(0, first, last));
  }
  at::Tensor resident(at::ScalarType) const override { return {}; }
  at::Tensor rows(const at::Tensor& ids, at::ScalarType compute) const override {
    return rounded().index_select(0, ids).to(compute);
  }
  bool trains() const override { return latent_.requires_grad(); }
  void accumulate(const at::Tensor& d_weight) override { add_gradient(latent_, d_weight); }
  void accumulate_rows(const at::Tensor&, const at::Tensor&) override {}
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override {
    visitor({prefix + ".latent", &latent_, role});
  }
  void to(at::Device) override {}
  at::Tensor rounded() const { return (latent_.detach() * 16).round() / 16; }

 private:
  at::Tensor latent_;
};

struct ProjectionCase {
  Prologue prologue;
  at::ScalarType type;
  int64_t tokens, in;
  std::vector<int64_t> outs;
  bool lossy;
};

class ProjectionTest : public testing::TestWithParam<ProjectionCase> {
 protected:
  void SetUp() override {
    const ProjectionCase& c = GetParam();
    projection.prologue = c.prologue;
    projection.norm = {at::randn({c.in}).to(c.type).requires_grad_(), 1e-5};
    for (const int64_t out : c.outs) {
      const at::Tensor latent =
          (at::randn({out, c.in}) / std::sqrt(static_cast<double>(c.in))).to(c.type);
      at::Tensor trained = latent.clone().requires_grad_();
      latents.push_back(trained);
      Linear linear;
      if (c.lossy) {
        auto source = std::make_shared<RoundedWeight>(trained);
        leaves.push_back(source->rounded().requires_grad_());
        linear.weight = source;
      } else {
        linear.weight = std::make_shared<DenseWeight>(trained);
        leaves.push_back(latent.clone().requires_grad_());
      }
      linear.bias = at::randn({out}).to(c.type).requires_grad_();
      projection.linears.push_back(linear);
    }
    x = at::randn({c.tokens, c.in}).to(c.type).requires_grad_();
    up = at::randn({c.tokens, c.in}).to(c.type).requires_grad_();
    if (c.outs.size() == 1) onto = at::randn({c.tokens, c.outs[0]}).to(c.type).requires_grad_();
  }

  static void take_gradient(at::Tensor& tensor, std::vector<at::Tensor>& into) {
    into.push_back(tensor.grad().clone());
    tensor.mutable_grad() = at::Tensor();
  }

  /// Gradients of x, up, norm and biases, cleared on the way.
  std::vector<at::Tensor> taken_gradients() {
    std::vector<at::Tensor> gradients;
    take_gradient(x, gradients);
    if (GetParam().prologue == Prologue::swiglu) take_gradient(up, gradients);
    if (onto.defined()) take_gradient(onto, gradients);
    if (GetParam().prologue == Prologue::rms_norm) take_gradient(projection.norm.weight, gradients);
    for (Linear& linear : projection.linears) take_gradient(linear.bias, gradients);
    return gradients;
  }

  Projection projection;
  std::vector<at::Tensor> latents, leaves;
  at::Tensor x, up, onto;
};

TEST_P(ProjectionTest, FunctionEqualsCompositionForwardAndBackward) {
  const ProjectionCase& c = GetParam();
  const bool gated = c.prologue == Prologue::swiglu;
  const auto expected = project_composition(projection, leaves, x, up, onto);
  std::vector<at::Tensor> seeds;
  for (const at::Tensor& y : expected) seeds.push_back(at::randn(y.sizes()).to(c.type));
  torch::autograd::backward(expected, seeds);
  const std::vector<at::Tensor> wanted = taken_gradients();

  const auto outputs = project(projection, x, gated ? up : at::Tensor(), onto);
  torch::autograd::backward(outputs, seeds);
  const std::vector<at::Tensor> got = taken_gradients();

  for (size_t i = 0; i < outputs.size(); ++i) {
    EXPECT_LE(relative_difference(outputs[i], expected[i]), tolerance(c.type));
    EXPECT_LE(relative_difference(latents[i].grad(), leaves[i].grad()), tolerance(c.type));
  }
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_LE(relative_difference(got[i], wanted[i]), tolerance(c.type)) << "gradient " << i;
}

TEST_P(ProjectionTest, WithoutGradModeNothingIsKept) {
  const at::NoGradGuard no_grad;
  const auto outputs =
      project(projection, x, GetParam().prologue == Prologue::swiglu ? up : at::Tensor());
  for (const at::Tensor& y : outputs) EXPECT_FALSE(y.requires_grad());
}

INSTANTIATE_TEST_SUITE_P(
    PrologueTypeAndShape, ProjectionTest,
    testing::Values(ProjectionCase{Prologue::none, at::kFloat, 5, 17, {9}, false},
                    ProjectionCase{Prologue::rms_norm, at::kFloat, 33, 72, {48, 24, 24}, false},
                    ProjectionCase{Prologue::rms_norm, at::kFloat, 1, 72, {48, 24, 24}, true},
                    ProjectionCase{Prologue::swiglu, at::kFloat, 20, 173, {72}, false},
                    ProjectionCase{Prologue::swiglu, at::kFloat, 20, 173, {72}, true},
                    ProjectionCase{Prologue::rms_norm, at::kDouble, 7, 10, {3, 4}, false},
                    ProjectionCase{Prologue::swiglu, at::kDouble, 7, 10, {3}, true},
                    ProjectionCase{Prologue::rms_norm, at::kBFloat16, 40, 64, {32, 16, 16}, false},
                    ProjectionCase{Prologue::none, at::kBFloat16, 3, 64, {32}, false}));

TEST(Matvec, AgreesWithTheProductForEveryNumberOfRowsAndOddSizes) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 32, 33})
      for (const int64_t inputs : {1, 15, 16, 63, 64, 65, 576}) {
        const at::Tensor x = at::randn({rows, inputs}).to(type);
        const at::Tensor w = at::randn({37, inputs}).to(type);
        const at::Tensor expected = at::matmul(x.to(at::kDouble), w.to(at::kDouble).t());
        EXPECT_LE(relative_difference(multiply(x, DenseWeight(w)), expected), tolerance(type))
            << rows << " rows, " << inputs << " inputs";
      }
}

TEST(Matvec, ARowDoesNotDependOnItsNeighbours) {
  const DenseWeight weight(at::randn({50, 211}).to(at::kBFloat16));
  const at::Tensor x = at::randn({32, 211}).to(at::kBFloat16);
  const at::Tensor together = multiply(x, weight);
  for (int64_t row = 0; row < 32; ++row)
    EXPECT_TRUE(multiply(x.slice(0, row, row + 1), weight).equal(together.slice(0, row, row + 1)));
}

}  // namespace
}  // namespace isogrid
