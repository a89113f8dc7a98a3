#include "models/attach_adapters.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/rng.h"
#include "models/random_init.h"
#include "quant/dense.h"

namespace isogrid {
namespace {

bool is_targeted(const std::string& name, const std::vector<std::string>& targets) {
  return std::any_of(targets.begin(), targets.end(), [&](const std::string& target) {
    return target == "all" || target == "all-linear" || ends_module_name(name, target);
  });
}

void check_targets(CausalLm& model, const std::vector<std::string>& targets) {
  for (const std::string& target : targets) {
    bool found = target == "all" || target == "all-linear";
    visit_linears(model, [&](const std::string& name, Linear&) {
      found = found || ends_module_name(name, target);
    });
    if (!found)
      fail(ExitCode::configuration, "lora_target: ", target,
           ": no linear of this model's blocks has that name; allowed are all, q_proj, k_proj, "
           "v_proj, o_proj, gate_proj, up_proj, down_proj, or longer endings such as "
           "layers.0.self_attn.q_proj (embed_tokens and lm_head train in full by "
           "additional_target)");
  }
}

template <typename Value>
Value by_pattern(const std::map<std::string, Value>& patterns, const std::string& name,
                 Value otherwise) {
  for (const auto& [ending, value] : patterns)
    if (ends_module_name(name, ending)) return value;
  return otherwise;
}

at::Tensor uniform(const std::string& name, std::vector<int64_t> shape, double bound,
                   uint64_t seed) {
  at::Tensor values = at::empty(shape, at::kFloat);
  float* to = values.mutable_data_ptr<float>();
  Rng stream(seed, Purpose::initial_weights, {name_hash(name)});
  for (int64_t i = 0; i < values.numel(); ++i)
    to[i] = static_cast<float>((2.0 * stream.uniform_double() - 1.0) * bound);
  return values;
}

/// The first `rank` singular triples: u [out, rank], s [rank], v [in, rank].
struct SingularTriples {
  at::Tensor u, s, v;
};

SingularTriples exact_triples(const at::Tensor& weight, int64_t rank) {
  const auto [u, s, vh] = at::linalg_svd(weight, /*full_matrices=*/false);
  return {u.slice(1, 0, rank), s.slice(0, 0, rank), vh.slice(0, 0, rank).t()};
}

/// Randomised subspace iteration (Halko, Martinsson, Tropp 2011) with a little oversampling.
SingularTriples approximate_triples(const at::Tensor& weight, int64_t rank, int64_t iterations,
                                    const std::string& name, uint64_t seed) {
  const int64_t sampled = std::min({rank + 6, weight.size(0), weight.size(1)});
  at::Tensor q = at::mm(
      weight, uniform(name + ".sketch", {weight.size(1), sampled}, 1.0, seed).to(weight.device()));
  q = std::get<0>(at::linalg_qr(q));
  for (int64_t i = 0; i < iterations; ++i) {
    const at::Tensor back = std::get<0>(at::linalg_qr(at::mm(weight.t(), q)));
    q = std::get<0>(at::linalg_qr(at::mm(weight, back)));
  }
  SingularTriples small = exact_triples(at::mm(q.t(), weight), rank);
  small.u = at::mm(q, small.u);
  return small;
}

}  // namespace

double adapter_scale(double alpha, int64_t rank, bool rank_stabilised) {
  const auto r = static_cast<double>(rank);
  return alpha / (rank_stabilised ? std::sqrt(r) : r);
}

bool ends_module_name(const std::string& name, const std::string& ending) {
  if (name.size() < ending.size() || ending.empty()) return false;
  const size_t start = name.size() - ending.size();
  return name.compare(start, ending.size(), ending) == 0 && (start == 0 || name[start - 1] == '.');
}

void attach_fresh_adapters(CausalLm& model, const AdapterSpec& spec, uint64_t seed,
                           at::ScalarType type) {
  check_targets(model, spec.targets);
  uint64_t stream = 0;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    const uint64_t own_stream = stream++;
    if (!is_targeted(name, spec.targets)) return;
    const int64_t in = linear.weight->inputs(), out = linear.weight->outputs();
    const int64_t rank = by_pattern(spec.rank_pattern, name, spec.rank);
    Adapter adapter;
    adapter.a =
        uniform(name + ".lora_A", {rank, in}, 1.0 / std::sqrt(static_cast<double>(in)), seed)
            .to(type);
    adapter.b = at::zeros({out, rank}, type);
    if (spec.dora) adapter.magnitude = at::zeros({out}, type);
    adapter.alpha = by_pattern(spec.alpha_pattern, name, spec.alpha);
    adapter.scale = adapter_scale(adapter.alpha, rank, spec.rank_stabilised);
    adapter.dropout = spec.dropout;
    adapter.stream = own_stream;
    linear.adapter = std::move(adapter);
  });
}

void initialise_magnitudes(CausalLm& model) {
  const at::NoGradGuard no_grad;
  refresh_row_lengths(model);
  visit_linears(model, [&](const std::string&, Linear& linear) {
    if (linear.adapter && linear.adapter->magnitude.defined())
      linear.adapter->magnitude.copy_(linear.adapter->lengths);
  });
}

void initialise_by_singular_vectors(CausalLm& model, int64_t power_iterations, uint64_t seed) {
  const at::NoGradGuard no_grad;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (!linear.adapter) return;
    Adapter& adapter = *linear.adapter;
    const int64_t rank = adapter.a.size(0);
    if (rank > std::min(linear.weight->inputs(), linear.weight->outputs()))
      fail(ExitCode::configuration, "lora_rank: ", rank,
           ": pissa_init takes that many singular "
           "vectors of ",
           name, ", which has only ", std::min(linear.weight->inputs(), linear.weight->outputs()));
    const at::Tensor weight = whole_weight(*linear.weight, at::kFloat, model.device);
    const SingularTriples top =
        power_iterations < 0 ? exact_triples(weight, rank)
                             : approximate_triples(weight, rank, power_iterations, name, seed);
    const at::Tensor root = (top.s / adapter.scale).sqrt();
    adapter.a.copy_((top.v * root).t());
    adapter.b.copy_(top.u * root);
    const at::Tensor rest =
        weight - at::mm(adapter.b.to(at::kFloat), adapter.a.to(at::kFloat)) * adapter.scale;
    linear.weight = std::make_shared<DenseWeight>(rest.to(model.compute));
  });
}

at::Tensor merged_weight(const Linear& linear, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  const Adapter& adapter = *linear.adapter;
  const auto wide = type == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor sum = at::mm(adapter.b.detach().to(wide), adapter.a.detach().to(wide))
                       .mul_(adapter.scale)
                       .add_(whole_weight(*linear.weight, wide, adapter.a.device()));
  if (adapter.magnitude.defined())
    sum.mul_((adapter.magnitude.detach().to(wide) / sum.norm(2, {1})).unsqueeze(1));
  return sum.to(type);
}

void merge_adapters(CausalLm& model) {
  visit_linears(model, [&](const std::string&, Linear& linear) {
    if (!linear.adapter) return;
    linear.weight = std::make_shared<DenseWeight>(merged_weight(linear, model.compute));
    linear.adapter.reset();
  });
}

void refresh_row_lengths(CausalLm& model) {
  visit_linears(model, [](const std::string&, Linear& linear) { refresh_row_lengths(linear); });
}

}  // namespace isogrid
