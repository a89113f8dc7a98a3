#include "trainer/optimizer.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>

#include "core/error.h"
#include "kernels/optimizer.h"

namespace isogrid {

/// One way to move weights. `update` works on one tensor; the element-wise rules also have a kernel
/// over a range of it.
struct UpdateRule {
  std::string_view name;
  std::vector<std::string_view> spellings;    // values of `optim`
  std::vector<std::string_view> state_names;  // of what `prepare` makes
  SliceState (*prepare)(const TrainedSlice& slice, const Trainables& trainables);
  struct Step {
    const Optimizer& optimizer;
    double learning_rate, gradient_scale;
  };
  /// Elements [first, last) of the slice on the CPU; null: only the composition.
  void (*kernel)(const Step& step, const kernels::Trained& what, SliceState& state, int64_t first,
                 int64_t last);
  /// Plain operators on any device and type: `p` is moved, `g` is scaled already.
  void (*composition)(const Step& step, at::Tensor& p, const at::Tensor& g, SliceState& state);
};

namespace {

using Step = UpdateRule::Step;

at::Tensor zeros_like_slice(const TrainedSlice& slice, const Trainables& trainables) {
  const auto type = trainables.master.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::zeros(slice.shape, trainables.master.options().dtype(type));
}

kernels::AdamwSettings adamw_settings(const Step& step) {
  const Optimizer& o = step.optimizer;
  const auto steps = static_cast<double>(o.steps);
  return {.learning_rate = step.learning_rate,
          .beta1 = o.beta1,
          .beta2 = o.beta2,
          .eps = o.eps,
          .weight_decay = o.weight_decay,
          .correction1 = 1 - std::pow(o.beta1, steps),
          .correction2 = 1 - std::pow(o.beta2, steps)};
}

void adamw_composition(const Step& step, at::Tensor& p, const at::Tensor& g, SliceState& state) {
  const kernels::AdamwSettings how = adamw_settings(step);
  at::Tensor &m = state[0], &v = state[1];
  p.mul_(1 - how.learning_rate * how.weight_decay);
  m.lerp_(g, 1 - how.beta1);
  v.mul_(how.beta2).addcmul_(g, g, 1 - how.beta2);
  const at::Tensor denominator = (v.sqrt() / std::sqrt(how.correction2)).add_(how.eps);
  p.addcdiv_(m, denominator, -how.learning_rate / how.correction1);
}

void adamw_kernel(const Step& step, const kernels::Trained& what, SliceState& state, int64_t first,
                  int64_t last) {
  kernels::optimizer_kernels().adamw(what, adamw_settings(step), state[0].mutable_data_ptr<float>(),
                                     state[1].mutable_data_ptr<float>(), first, last);
}

// Small tensors and look-up tables keep their moments in 32 bits, as bitsandbytes has it.
constexpr int64_t kFewestCoded = 4096;

bool is_coded(const TrainedSlice& slice) {
  return slice.count >= kFewestCoded && slice.role != Role::embedding;
}

SliceState prepare_coded(const TrainedSlice& slice, const Trainables& trainables) {
  if (!is_coded(slice))
    return {zeros_like_slice(slice, trainables), zeros_like_slice(slice, trainables), {}, {}};
  if (!trainables.master.is_cpu())
    fail(ExitCode::configuration,
         "optim: adamw_8bit is not supported on a GPU yet; allowed there "
         "are adamw, sgd, adafactor, lion");
  const int64_t blocks = (slice.count + kernels::kMomentBlock - 1) / kernels::kMomentBlock;
  const auto codes = [&](bool with_sign) {
    return at::full({slice.count}, kernels::zero_code(with_sign), at::kByte);
  };
  return {codes(true), codes(false), at::zeros({blocks}, at::kFloat),
          at::zeros({blocks}, at::kFloat)};
}

void coded_kernel(const Step& step, const kernels::Trained& what, SliceState& state, int64_t first,
                  int64_t last) {
  if (!state[2].defined()) return adamw_kernel(step, what, state, first, last);
  const auto moment = [&](int i) {
    return kernels::CodedMoment{state[i].mutable_data_ptr<uint8_t>(),
                                state[i + 2].mutable_data_ptr<float>()};
  };
  kernels::optimizer_kernels().adamw_coded(what, adamw_settings(step), moment(0), moment(1), first,
                                           last);
}

void lion_composition(const Step& step, at::Tensor& p, const at::Tensor& g, SliceState& state) {
  const Optimizer& o = step.optimizer;
  p.mul_(1 - step.learning_rate * o.weight_decay);
  p.sub_((state[0] * o.beta1 + g * (1 - o.beta1)).sign_() * step.learning_rate);
  state[0].lerp_(g, 1 - o.beta2);
}

void lion_kernel(const Step& step, const kernels::Trained& what, SliceState& state, int64_t first,
                 int64_t last) {
  const Optimizer& o = step.optimizer;
  kernels::optimizer_kernels().lion(what,
                                    {.learning_rate = step.learning_rate,
                                     .beta1 = o.beta1,
                                     .beta2 = o.beta2,
                                     .weight_decay = o.weight_decay},
                                    state[0].mutable_data_ptr<float>(), first, last);
}

void sgd_composition(const Step& step, at::Tensor& p, const at::Tensor& g, SliceState&) {
  p.sub_((g + p * step.optimizer.weight_decay) * step.learning_rate);
}

void sgd_kernel(const Step& step, const kernels::Trained& what, SliceState&, int64_t first,
                int64_t last) {
  kernels::optimizer_kernels().sgd(
      what, {.learning_rate = step.learning_rate, .weight_decay = step.optimizer.weight_decay},
      nullptr, first, last);
}

SliceState prepare_adafactor(const TrainedSlice& slice, const Trainables& trainables) {
  if (slice.shape.size() < 2) return {zeros_like_slice(slice, trainables), {}};
  const auto options = trainables.master.options().dtype(at::kFloat);
  return {at::zeros({slice.shape[0]}, options), at::zeros({slice.shape[1]}, options)};
}

/// transformers' Adafactor as its Trainer sets it: an outer learning rate, no first moment, no
/// scaling by the weight's size.
void adafactor_composition(const Step& step, at::Tensor& p, const at::Tensor& g,
                           SliceState& state) {
  constexpr double kEps = 1e-30, kDecayRate = -0.8, kClip = 1.0;
  const double beta2 = 1 - std::pow(static_cast<double>(step.optimizer.steps), kDecayRate);
  const at::Tensor squares = g.square().add_(kEps);
  at::Tensor update;
  if (state[1].defined()) {
    at::Tensor &rows = state[0], &columns = state[1];
    rows.mul_(beta2).add_(squares.mean({-1}), 1 - beta2);
    columns.mul_(beta2).add_(squares.mean({-2}), 1 - beta2);
    update = g * (rows / rows.mean()).rsqrt_().unsqueeze(1) * columns.rsqrt().unsqueeze(0);
  } else {
    state[0].mul_(beta2).add_(squares, 1 - beta2);
    update = g * state[0].rsqrt();
  }
  const double size = std::sqrt(update.square().mean().item<double>());
  update.mul_(step.learning_rate / std::max(1.0, size / kClip));
  p.mul_(1 - step.learning_rate * step.optimizer.weight_decay).sub_(update);
}

SliceState prepare_two(const TrainedSlice& slice, const Trainables& trainables) {
  return {zeros_like_slice(slice, trainables), zeros_like_slice(slice, trainables)};
}
SliceState prepare_one(const TrainedSlice& slice, const Trainables& trainables) {
  return {zeros_like_slice(slice, trainables)};
}
SliceState prepare_none(const TrainedSlice&, const Trainables&) { return {}; }

/// The one table of update rules.
const std::vector<UpdateRule>& update_rules() {
  static const std::vector<UpdateRule> table{
      {"adamw",
       {"adamw", "adamw_torch", "adamw_torch_fused", "adamw_hf", "paged_adamw_32bit"},
       {"first_moment", "second_moment"},
       prepare_two,
       adamw_kernel,
       adamw_composition},
      {"adamw_8bit",
       {"adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit"},
       {"first_moment", "second_moment", "first_scale", "second_scale"},
       prepare_coded,
       coded_kernel,
       nullptr},
      {"lion", {"lion", "lion_32bit"}, {"momentum"}, prepare_one, lion_kernel, lion_composition},
      {"sgd", {"sgd"}, {}, prepare_none, sgd_kernel, sgd_composition},
      {"adafactor",
       {"adafactor"},
       {"rows", "columns"},
       prepare_adafactor,
       nullptr,
       adafactor_composition},
  };
  return table;
}

const UpdateRule& rule_of(const std::string& spelling) {
  for (const UpdateRule& rule : update_rules())
    if (std::find(rule.spellings.begin(), rule.spellings.end(), spelling) != rule.spellings.end())
      return rule;
  fail(ExitCode::configuration, "optim: ", spelling, ": there is no such rule");
}

kernels::Element element_of(at::ScalarType type) {
  if (type == at::kBFloat16) return kernels::Element::bf16;
  return type == at::kHalf ? kernels::Element::f16 : kernels::Element::f32;
}

/// The slice's part of the flat stores as kernels see it.
kernels::Trained trained_part(Trainables& trainables, const TrainedSlice& slice,
                              double gradient_scale) {
  const int64_t width = static_cast<int64_t>(trainables.working.element_size());
  kernels::Trained what;
  what.element = element_of(trainables.working.scalar_type());
  if (trainables.master.scalar_type() == at::kFloat)
    what.master = trainables.master.mutable_data_ptr<float>() + slice.first;
  if (trainables.has_own_working() || what.master == nullptr)
    what.working = static_cast<char*>(trainables.working.mutable_data_ptr()) + slice.first * width;
  what.gradient = trainables.gradient.const_data_ptr<float>() + slice.first;
  what.gradient_scale = static_cast<float>(gradient_scale);
  return what;
}

/// A multiple of the block of coded moments, so that no block is cut.
constexpr int64_t kElementsPerPart = 1 << 16;
static_assert(kElementsPerPart % kernels::kMomentBlock == 0);

struct Part {
  size_t slice;
  int64_t first, last;
};

std::vector<Part> parts_of(const Trainables& trainables) {
  std::vector<Part> parts;
  for (size_t i = 0; i < trainables.slices.size(); ++i) {
    const TrainedSlice& slice = trainables.slices[i];
    for (int64_t first = 0; slice.moves && first < slice.count; first += kElementsPerPart)
      parts.push_back({i, first, std::min(slice.count, first + kElementsPerPart)});
  }
  return parts;
}

/// The optimizer as one tensor sees it: decay is not for norms and biases.
Optimizer settings_for(const Optimizer& optimizer, const TrainedSlice& slice) {
  Optimizer own;
  own.beta1 = optimizer.beta1;
  own.beta2 = optimizer.beta2;
  own.eps = optimizer.eps;
  own.steps = optimizer.steps;
  own.weight_decay = slice.decays ? optimizer.weight_decay : 0.0;
  return own;
}

void update_by_kernel(Optimizer& optimizer, Trainables& trainables, double learning_rate,
                      double gradient_scale) {
  const std::vector<Part> parts = parts_of(trainables);
  at::parallel_for(0, static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const TrainedSlice& slice = trainables.slices[parts[i].slice];
      const Optimizer own = settings_for(optimizer, slice);
      optimizer.rule->kernel({own, learning_rate * slice.rate, gradient_scale},
                             trained_part(trainables, slice, gradient_scale),
                             optimizer.states[parts[i].slice], parts[i].first, parts[i].last);
    }
  });
}

void update_by_composition(Optimizer& optimizer, Trainables& trainables, double learning_rate,
                           double gradient_scale) {
  if (optimizer.rule->composition == nullptr)
    fail(ExitCode::configuration, "optim: ", optimizer.rule->name,
         ": updates float32 masters on a CPU only; allowed otherwise are adamw, sgd, adafactor, "
         "lion");
  for (size_t i = 0; i < trainables.slices.size(); ++i) {
    const TrainedSlice& slice = trainables.slices[i];
    if (!slice.moves) continue;
    const Optimizer own = settings_for(optimizer, slice);
    const at::Tensor g = trainables.view(trainables.gradient, slice) * gradient_scale;
    at::Tensor kept = trainables.view(trainables.master, slice);
    at::Tensor p = kept.to(g.scalar_type());
    optimizer.rule->composition({own, learning_rate * slice.rate, gradient_scale}, p, g,
                                optimizer.states[i]);
    if (!p.is_same(kept)) kept.copy_(p);
  }
  refresh_working(trainables);
}

}  // namespace

Optimizer make_optimizer(const OptimizerConfig& config, const Trainables& trainables) {
  Optimizer optimizer;
  optimizer.rule = &rule_of(config.optim);
  optimizer.beta1 = config.adam_beta1;
  optimizer.beta2 = config.adam_beta2;
  optimizer.eps = config.adam_epsilon;
  optimizer.weight_decay = config.weight_decay;
  for (const TrainedSlice& slice : trainables.slices)
    optimizer.states.push_back(optimizer.rule->prepare(slice, trainables));
  return optimizer;
}

void update(Optimizer& optimizer, Trainables& trainables, double learning_rate,
            double gradient_scale) {
  const at::NoGradGuard no_grad;
  ++optimizer.steps;
  const bool by_kernel = optimizer.rule->kernel != nullptr && trainables.master.is_cpu() &&
                         trainables.gradient.scalar_type() == at::kFloat;
  if (by_kernel)
    update_by_kernel(optimizer, trainables, learning_rate, gradient_scale);
  else
    update_by_composition(optimizer, trainables, learning_rate, gradient_scale);
}

void visit_state(Optimizer& optimizer, const Trainables& trainables,
                 const std::function<void(const std::string&, at::Tensor&)>& visitor) {
  const UpdateRule& rule = *optimizer.rule;
  for (size_t i = 0; i < optimizer.states.size(); ++i)
    for (size_t k = 0; k < optimizer.states[i].size(); ++k)
      if (optimizer.states[i][k].defined())
        visitor(concat(rule.name, ".", rule.state_names[k], ".", trainables.slices[i].name),
                optimizer.states[i][k]);
}

int64_t optimizer_bytes_per_number(const OptimizerConfig& config) {
  const std::string_view rule = rule_of(config.optim).name;
  if (rule == "adamw") return 8;
  if (rule == "lion") return 4;
  return rule == "adamw_8bit" ? 2 : 0;
}

double gradient_norm(const Trainables& trainables) {
  const at::Tensor& g = trainables.gradient;
  if (!g.is_cpu() || g.scalar_type() != at::kFloat)
    return std::sqrt(g.to(at::kDouble).square().sum().item<double>());
  const int64_t chunks = (g.numel() + kernels::kSumChunk - 1) / kernels::kSumChunk;
  std::vector<double> sums(static_cast<size_t>(chunks), 0.0);
  at::parallel_for(0, chunks, 1, [&](int64_t first, int64_t last) {
    kernels::optimizer_kernels().sum_of_squares(g.const_data_ptr<float>(), g.numel(), sums.data(),
                                                first, last);
  });
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

std::string first_non_finite_gradient(const Trainables& trainables) {
  for (const TrainedSlice& slice : trainables.slices)
    if (!std::isfinite(
            trainables.view(trainables.gradient, slice).abs().max().to(at::kDouble).item<double>()))
      return slice.name;
  return "";
}

}  // namespace isogrid
