#pragma once
#include <memory>

#include "quant/grid.h"
#include "quant/weight_source.h"

namespace isogrid {

/// Where a fake-quantised weight has its scales from.
enum class ScaleMode {
  derived,  // from the latent weight, at every use (a grid that searches: every refresh_steps)
  learned,  // fitted to the weight when rounding starts, times a gain that trains
  frozen,   // fitted to the weight when rounding starts
};

struct FakeQuantOptions {
  ScaleMode scales = ScaleMode::derived;
  /// No gradient to weights beyond the outermost codes; else straight through everywhere.
  bool clipped = false;
  int64_t start_step = 0;       // steps that still train the weight itself
  int64_t refresh_steps = 100;  // between two searches of a grid that searches
  double freeze_share = 0.1;    // of the run, at its end, without a search
};

/// Rounds a latent weight to a grid at every use, with a straight-through gradient. What is served
/// is what the deployed file decodes to, bit for bit: records() holds what that file says.
class FakeQuantWeight final : public WeightSource {
 public:
  /// A grid whose blocks do not divide the rows, or that cannot do what the options ask, is
  /// refused (78); `name` names the weight.
  FakeQuantWeight(const std::string& name, at::Tensor latent, std::shared_ptr<const Grid> grid,
                  const FakeQuantOptions& options);

  const Grid& grid() const { return *grid_; }
  bool rounds() const override { return active_; }
  /// The rows' records, uint8 [out, row_bytes], as they are now.
  at::Tensor records(const LowRank* delta) const;

  /// Does the gradient of the rounded weight reach the latent one unchanged?
  bool passes_gradient() const { return !active_ || !(options_.clipped || learns()); }
  /// What of dL/dW [out, in] reaches the latent weight; the learned scales take their gradient.
  at::Tensor through_rounding(const at::Tensor& d_weight, const LowRank* delta) override;

  int64_t outputs() const override { return latent_.size(0); }
  int64_t inputs() const override { return latent_.size(1); }
  void materialise(at::Tensor& out, int64_t first, int64_t last,
                   const LowRank* delta) const override;
  at::Tensor resident(at::ScalarType compute) const override;
  at::Tensor rows(const at::Tensor& ids, at::ScalarType compute) const override;
  bool trains() const override;
  void accumulate(const at::Tensor& d_weight) override;
  void accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) override;
  void begin_step(const StepInfo& step, const LowRank* delta) override;
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override;
  void to(at::Device device) override;

 private:
  bool learns() const { return options_.scales == ScaleMode::learned; }
  bool keeps_records() const;
  bool fits_scales() const;
  bool is_settled() const;
  bool renews_records(const StepInfo& step) const;
  void round_rows(const at::Tensor& wide, const at::Tensor& ids, at::Tensor& out) const;
  void write_record(const float* row, int64_t index, const at::Tensor& gains,
                    std::byte* record) const;
  at::Tensor gains() const;  // float32 on the host; undefined where none are learned
  at::Tensor gradient_rows(const at::Tensor& wide, const at::Tensor& ids, const at::Tensor& d_rows);

  std::shared_ptr<const Grid> grid_;
  FakeQuantOptions options_;
  bool active_ = false;
  at::Tensor latent_;  // [out, in]
  at::Tensor kept_;    // uint8 [out, row_bytes]: scales that are not derived at every use
  at::Tensor gain_;    // [out, scales of a row]
  /// The rounded weight where nothing moves it any more, made at its first use.
  mutable at::Tensor settled_;
  bool changed_ = false;  // an adapter is rounded together with it
};

}  // namespace isogrid
