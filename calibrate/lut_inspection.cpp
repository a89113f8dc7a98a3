#include "calibrate/lut_inspection.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <map>

#include "models/observe.h"
#include "quant/lut_balanced.h"
#include "quant/lut_fit.h"
#include "quant/lut_folder.h"
#include "quant/lut_v1.h"
#include "quant/lut_v2.h"
#include "quant/packed_codes.h"

namespace isogrid {
namespace {

/// Form, bits, rank and codes [out, in] of a layer.
struct CodedLayer {
  LutLayerFigures figures;
  at::Tensor codes;
};

CodedLayer coded_layer(const std::string& name, const WeightSource& weight) {
  CodedLayer layer;
  layer.figures.linear = name;
  layer.figures.form = lut_parameters(weight);
  if (const auto* v2 = dynamic_cast<const LutV2Weight*>(&weight)) {
    layer.figures.bits = v2->parts().bits();
    layer.figures.rank = v2->parts().g.size(0);
    layer.codes = unpack_codes(v2->parts().codes, layer.figures.bits, v2->inputs());
  } else if (const auto* v1 = dynamic_cast<const LutV1Weight*>(&weight)) {
    layer.figures.bits = v1->bits();
    layer.figures.rank = v1->parts().a.size(1);
    layer.codes = v1->codes();
  } else if (const auto* balanced = dynamic_cast<const BalancedWeight*>(&weight)) {
    layer.figures.bits = balanced->bits();
    layer.codes = balanced->codes();
  }
  return layer;
}

void count_codes(CodedLayer& layer) {
  const int64_t values = int64_t{1} << layer.figures.bits;
  const at::Tensor counts =
      at::bincount(layer.codes.reshape({-1}).to(at::kLong), {}, values).to(at::kDouble);
  const auto all = static_cast<double>(layer.codes.numel());
  for (int64_t i = 0; i < values; ++i) {
    const double share = counts[i].item<double>() / all;
    layer.figures.usage.push_back(share);
    if (share > 0) layer.figures.entropy -= share * std::log2(share);
  }
  layer.figures.outermost = layer.figures.usage.front() + layer.figures.usage.back();
}

/// Squared differences of outputs, and squared outputs of the original.
struct OutputSums {
  double gap = 0, whole = 0;
};

/// Runs the rows; each linear that has an original is multiplied both ways with what it is given.
std::map<const Linear*, OutputSums> compare_outputs(
    CausalLm& model, const std::vector<Batch>& rows,
    const std::map<const Linear*, std::string>& names, const OriginalWeight& original) {
  std::map<const Linear*, OutputSums> sums;
  const InputObserver observer([&](const Projection& projection, const at::Tensor& input) {
    const at::Tensor x = input.to(at::kFloat);
    for (const Linear& linear : projection.linears) {
      const auto name = names.find(&linear);
      if (name == names.end()) continue;
      const at::Tensor wanted = original(name->second);
      if (!wanted.defined()) continue;
      const at::Tensor served = whole_weight(*linear.weight, at::kFloat, x.device());
      const at::Tensor y = at::mm(x, wanted.to(x.device()).t());
      OutputSums& sum = sums[&linear];
      sum.gap += (at::mm(x, served.t()) - y).square().sum().to(at::kDouble).item<double>();
      sum.whole += y.square().sum().to(at::kDouble).item<double>();
    }
  });
  for (const Batch& row : rows) {
    const TokenLayout layout = lay_out(model.config, row.document_ends, {}, model.device);
    forward_hidden(model, at::tensor(row.input_ids, at::kLong), layout);
  }
  return sums;
}

}  // namespace

std::vector<LutLayerFigures> lut_layer_figures(CausalLm& model, const std::vector<Batch>& rows,
                                               const OriginalWeight& original) {
  const at::NoGradGuard no_grad;
  std::map<const Linear*, std::string> names;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (!lut_parameters(*linear.weight).empty()) names[&linear] = name;
  });
  std::map<const Linear*, OutputSums> outputs;
  if (original) outputs = compare_outputs(model, rows, names, original);
  std::vector<LutLayerFigures> figures;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (names.count(&linear) == 0) return;
    CodedLayer layer = coded_layer(name, *linear.weight);
    count_codes(layer);
    const at::Tensor wanted = original ? original(name) : at::Tensor();
    if (wanted.defined())
      layer.figures.weight_error =
          weighted_error(whole_weight(*linear.weight, at::kFloat, at::kCPU), wanted, {});
    const auto found = outputs.find(&linear);
    if (found != outputs.end() && found->second.whole > 0)
      layer.figures.output_error = found->second.gap / found->second.whole;
    figures.push_back(std::move(layer.figures));
  });
  return figures;
}

}  // namespace isogrid
