#include "calibrate/awq.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

#include "calibrate/block_walk.h"
#include "quant/dense.h"

namespace isogrid {
namespace {

at::Tensor dense_of(const Linear& linear) { return linear.weight->resident(at::kFloat); }

at::Tensor decoded(const PackedGroupParts& parts) {
  return whole_weight(PackedGroupWeight(parts), at::kFloat, at::kCPU);
}

/// How far each column stands out in its group, the mean over all outputs.
at::Tensor relative_magnitude(const std::vector<at::Tensor>& weights, const GroupRule& rule) {
  const at::Tensor all = at::cat(weights).abs();
  const int64_t width = rule.width(all.size(1));
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < all.size(1); first += width) {
    const at::Tensor group = all.slice(1, first, std::min(all.size(1), first + width));
    parts.push_back((group / (group.amax(1, /*keepdim=*/true) + 1e-6)).mean(0));
  }
  return at::cat(parts);
}

/// Loud inputs and quiet columns get a factor above one, centred in its logarithm.
at::Tensor factor_for(const at::Tensor& inputs, const at::Tensor& weights, double ratio) {
  at::Tensor factor = inputs.pow(ratio) / (weights.pow(1.0 - ratio) + 1e-4);
  factor = factor.clamp_min(1e-4);
  factor = factor / (factor.max() * factor.min()).sqrt();
  return at::where(factor.isfinite(), factor, at::ones_like(factor));
}

/// One group of one block: its factor, its ranges, and what had to change for them.
class GroupSearch {
 public:
  GroupSearch(const CausalLm& model, const AwqOptions& options, const LinearFits& fits,
              SeenGroup& seen, PackedModel& packed)
      : model_(model),
        options_(options),
        seen_(seen),
        packed_(packed),
        names_(seen.names()),
        moment_(seen.inputs.second_moment()) {
    for (Linear& linear : seen.projection().linears) {
      weights_.push_back(dense_of(linear));
      packs_.push_back(!fits || fits(linear.weight->outputs(), linear.weight->inputs()));
      check_range(names_[weights_.size() - 1], weights_.back(), options.rule);
    }
  }

  void run() {
    if (can_take_back()) scale(best_factor());
    for (size_t i = 0; i < weights_.size(); ++i) round(i);
  }

 private:
  bool can_take_back() const {
    // Under grouped queries several heads share a row of v.
    if (seen_.group != LinearGroup::output) return true;
    return seen_.block.qkv.linears[2].weight->outputs() == weights_[0].size(1);
  }

  double error_with(const at::Tensor& factor) const {
    double error = 0;
    for (size_t i = 0; i < weights_.size(); ++i)
      if (packs_[i])
        error += product_error(
            rounded_values(weights_[i] * factor, options_.rule) / factor - weights_[i], moment_);
    return error;
  }

  at::Tensor best_factor() const {
    const at::Tensor inputs = seen_.inputs.mean_magnitude();
    const at::Tensor weights = relative_magnitude(weights_, options_.rule);
    at::Tensor best = at::ones_like(inputs);
    double least = error_with(best);
    for (int step = 0; step < options_.ratios; ++step) {
      const at::Tensor factor =
          factor_for(inputs, weights, static_cast<double>(step) / options_.ratios);
      const double error = error_with(factor);
      if (error >= least) continue;
      least = error;
      best = factor;
    }
    return best;
  }

  void scale(at::Tensor factor) {
    if (seen_.projection().prologue == Prologue::rms_norm)
      factor = taken_by_norm(factor);
    else
      taken_by_rows(factor);
    for (at::Tensor& weight : weights_) weight = weight * factor;
    moment_ = moment_ / factor.unsqueeze(0) / factor.unsqueeze(1);
  }

  /// The norm is rounded to the type it is stored in; the factor is what it then really is.
  at::Tensor taken_by_norm(const at::Tensor& factor) {
    const bool first = seen_.group == LinearGroup::qkv;
    const Block& stored = model_.blocks[seen_.layer];
    const auto type = (first ? stored.qkv : stored.gate_up).norm.weight.scalar_type();
    at::Tensor& norm = seen_.projection().norm.weight;
    const at::Tensor rounded = (norm / factor).to(type).to(at::kFloat);
    const at::Tensor real = norm / rounded;
    const at::Tensor usable = real.isfinite().logical_and(real.gt(0));
    norm = at::where(usable, rounded, norm);
    packed_.changed[seen_.prefix() +
                    (first ? "input_layernorm.weight" : "post_attention_layernorm.weight")] = norm;
    return at::where(usable, real, at::ones_like(real));
  }

  /// The rows in front (of v, of up) are divided, which leaves their codes as they are.
  void taken_by_rows(const at::Tensor& factor) {
    const bool attention = seen_.group == LinearGroup::output;
    Linear& front = attention ? seen_.block.qkv.linears[2] : seen_.block.gate_up.linears[1];
    const std::string name = seen_.prefix() + (attention ? "self_attn.v_proj" : "mlp.up_proj");
    const at::Tensor rows = factor.unsqueeze(1);
    if (const auto found = packed_.linears.find(name); found != packed_.linears.end()) {
      PackedGroupParts& parts = found->second;
      parts.scales = (parts.scales.to(at::kFloat) / rows).to(parts.scales.scalar_type());
      front.weight = std::make_shared<DenseWeight>(decoded(parts));
    } else {
      const at::Tensor divided = dense_of(front) / rows;
      packed_.changed[name + ".weight"] = divided;
      front.weight = std::make_shared<DenseWeight>(divided);
    }
    if (front.bias.defined()) packed_.changed[name + ".bias"] = front.bias = front.bias / factor;
    if (attention) seen_.input_factor = factor.reciprocal();
  }

  /// float32 [outputs, groups]: how much of its range each group keeps.
  at::Tensor best_ranges(const at::Tensor& weight) const {
    const int64_t inputs = weight.size(1), groups = options_.rule.groups(inputs);
    const int64_t width = options_.rule.width(inputs);
    at::Tensor best = at::ones({weight.size(0), groups}, at::kFloat);
    at::Tensor least = at::full({weight.size(0), groups}, std::numeric_limits<float>::infinity());
    for (int step = 0; step < options_.clip_steps; ++step) {
      const at::Tensor kept = at::full_like(best, 1.0 - step / 20.0);
      const at::Tensor change = rounded_values(weight, options_.rule, kept) - weight;
      std::vector<at::Tensor> errors;
      for (int64_t first = 0; first < inputs; first += width) {
        const int64_t last = std::min(inputs, first + width);
        const at::Tensor part = change.slice(1, first, last);
        const at::Tensor moment = moment_.slice(0, first, last).slice(1, first, last);
        errors.push_back(at::mm(part, moment).mul_(part).sum(1, /*keepdim=*/true));
      }
      const at::Tensor error = at::cat(errors, 1);
      best = at::where(error.lt(least), kept, best);
      least = at::where(error.lt(least), error, least);
    }
    return best;
  }

  void round(size_t i) {
    Linear& linear = seen_.projection().linears[i];
    if (!packs_[i]) {
      packed_.left_dense.push_back(names_[i]);
      packed_.changed[names_[i] + ".weight"] = weights_[i];
      linear.weight = std::make_shared<DenseWeight>(weights_[i]);
      return;
    }
    // Clipped queries and keys move the attention's logits, which this error does not see.
    const bool clips = seen_.group != LinearGroup::qkv || i == 2;
    PackedGroupParts parts = rounded_to_nearest("awq", weights_[i], options_.rule,
                                                clips ? best_ranges(weights_[i]) : at::Tensor());
    const at::Tensor rounded = decoded(parts);
    note_error(packed_, names_[i], rounded, weights_[i], moment_);
    linear.weight = std::make_shared<DenseWeight>(rounded);
    packed_.linears[names_[i]] = std::move(parts);
  }

  const CausalLm& model_;
  const AwqOptions& options_;
  SeenGroup& seen_;
  PackedModel& packed_;
  std::vector<std::string> names_;
  at::Tensor moment_;
  std::vector<at::Tensor> weights_;
  std::vector<bool> packs_;
};

}  // namespace

PackedModel calibrate_awq(const CausalLm& model, const std::vector<Batch>& rows,
                          const AwqOptions& options, const LinearFits& fits,
                          const CalibrationProgress& progress) {
  PackedModel packed;
  walk_blocks(
      model, rows, [&](SeenGroup& seen) { GroupSearch(model, options, fits, seen, packed).run(); },
      progress);
  return packed;
}

}  // namespace isogrid
