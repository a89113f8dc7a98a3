#include "models/adapter.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mm.h>

#include "models/projection.h"

namespace isogrid {
namespace {

bool drops(const Linear& linear, const TrainingNoise* noise) {
  return noise != nullptr && linear.adapter->dropout > 0;
}

/// Without dropout all adapters of a group read the same input: one product serves them together.
bool shares_input(const std::vector<Linear>& linears, const TrainingNoise* noise) {
  for (const Linear& linear : linears)
    if (adds_adapter(linear) && drops(linear, noise)) return false;
  return true;
}

std::vector<size_t> adapted(const std::vector<Linear>& linears) {
  std::vector<size_t> indices;
  for (size_t i = 0; i < linears.size(); ++i)
    if (adds_adapter(linears[i])) indices.push_back(i);
  return indices;
}

at::Tensor stacked_a(const std::vector<Linear>& linears, const std::vector<size_t>& which) {
  if (which.size() == 1) return linears[which[0]].adapter->a.detach();
  std::vector<at::Tensor> parts;
  for (const size_t i : which) parts.push_back(linears[i].adapter->a.detach());
  return at::cat(parts, 0);
}

void add_if_trained(at::Tensor tensor, const at::Tensor& gradient) {
  if (tensor.requires_grad()) add_gradient(tensor, gradient);
}

/// The gradient of inner before its scale, [tokens, rank]; adds that of b.
at::Tensor backward_through_b(const Adapter& adapter, const at::Tensor& inner,
                              const at::Tensor& d_product) {
  add_if_trained(adapter.b, at::mm(d_product.t(), inner));
  return at::mm(d_product, adapter.b.detach()).mul_(adapter.scale);
}

}  // namespace

bool adds_adapter(const Linear& linear) { return linear.adapter && !linear.rounds_sum; }

std::optional<LowRank> rounded_change(const Linear& linear) {
  if (!linear.adapter || !linear.rounds_sum) return std::nullopt;
  return LowRank{linear.adapter->a.detach(), linear.adapter->b.detach(), linear.adapter->scale};
}

void rounded_adapter_backward(const Adapter& adapter, const at::Tensor& d_sum) {
  const at::Tensor a = adapter.a.detach().to(d_sum.scalar_type());
  const at::Tensor b = adapter.b.detach().to(d_sum.scalar_type());
  add_if_trained(adapter.b, at::mm(d_sum, a.t()).mul_(adapter.scale));
  add_if_trained(adapter.a, at::mm(b.t(), d_sum).mul_(adapter.scale));
}

AdapterInputs adapter_inputs(const std::vector<Linear>& linears, const at::Tensor& input,
                             const TrainingNoise* noise) {
  AdapterInputs result;
  const std::vector<size_t> which = adapted(linears);
  if (which.empty()) return result;
  result.dropped.assign(linears.size(), input);
  result.inner.resize(linears.size());
  if (shares_input(linears, noise)) {
    const at::Tensor inner = at::mm(input, stacked_a(linears, which).t());
    int64_t first = 0;
    for (const size_t i : which) {
      const Adapter& adapter = *linears[i].adapter;
      const int64_t rank = adapter.a.size(0);
      result.inner[i] = inner.slice(1, first, first + rank) * adapter.scale;
      first += rank;
    }
    return result;
  }
  for (const size_t i : which) {
    const Adapter& adapter = *linears[i].adapter;
    if (drops(linears[i], noise))
      result.dropped[i] = dropout(input, *noise, adapter.dropout, adapter.stream);
    result.inner[i] = at::mm(result.dropped[i], adapter.a.detach().t()).mul_(adapter.scale);
  }
  return result;
}

void adapters_backward(const std::vector<Linear>& linears, const AdapterInputs& inputs,
                       const std::vector<at::Tensor>& d_products, const TrainingNoise* noise,
                       at::Tensor& d_input) {
  std::vector<size_t> which;
  for (const size_t i : adapted(linears))
    if (d_products[i].defined()) which.push_back(i);
  if (which.empty()) return;
  std::vector<at::Tensor> d_inner;
  for (const size_t i : which)
    d_inner.push_back(backward_through_b(*linears[i].adapter, inputs.inner[i], d_products[i]));
  if (shares_input(linears, noise)) {
    const at::Tensor all = d_inner.size() == 1 ? d_inner[0] : at::cat(d_inner, 1);
    const at::Tensor d_a = at::mm(all.t(), inputs.dropped[which[0]]);
    int64_t first = 0;
    for (const size_t i : which) {
      const int64_t rank = linears[i].adapter->a.size(0);
      add_if_trained(linears[i].adapter->a, d_a.slice(0, first, first + rank));
      first += rank;
    }
    d_input.addmm_(all, stacked_a(linears, which));
    return;
  }
  for (size_t n = 0; n < which.size(); ++n) {
    const Linear& linear = linears[which[n]];
    const Adapter& adapter = *linear.adapter;
    add_if_trained(adapter.a, at::mm(d_inner[n].t(), inputs.dropped[which[n]]));
    const at::Tensor d_dropped = at::mm(d_inner[n], adapter.a.detach());
    d_input.add_(drops(linear, noise) ? dropout(d_dropped, *noise, adapter.dropout, adapter.stream)
                                      : d_dropped);
  }
}

void refresh_row_lengths(Linear& linear) {
  if (!linear.adapter || !linear.adapter->magnitude.defined()) return;
  const at::NoGradGuard no_grad;
  Adapter& adapter = *linear.adapter;
  const WeightSource& source = *linear.weight;
  const at::Tensor a = adapter.a.detach().to(at::kFloat), b = adapter.b.detach().to(at::kFloat);
  const at::Tensor weight = whole_weight(source, at::kFloat, a.device());
  adapter.lengths = at::mm(b, a).mul_(adapter.scale).add_(weight).norm(2, {1});
}

}  // namespace isogrid
