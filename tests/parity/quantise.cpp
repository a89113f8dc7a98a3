// parity_quantise INPUT.safetensors OUTPUT.safetensors: every matrix of INPUT in each format that a
// dense weight can be brought to, as the parts files hold and as the numbers they decode to.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include "core/error.h"
#include "core/tensor_file.h"
#include "quant/bnb4.h"
#include "quant/int8_rows.h"

namespace isogrid {
namespace {

std::vector<NamedTensor> results;

void add_decoded(const std::string& prefix, const WeightSource& source) {
  for (const auto& [type, name] :
       {std::pair{at::kFloat, "float32"}, {at::kBFloat16, "bfloat16"}, {at::kHalf, "float16"}})
    results.push_back({concat(prefix, "decoded.", name), whole_weight(source, type, at::kCPU)});
}

void add_bnb4(const NamedTensor& dense) {
  for (const auto code : {kernels::FourBitCode::nf4, kernels::FourBitCode::fp4})
    for (const bool nested : {false, true}) {
      const char* name = code == kernels::FourBitCode::nf4 ? "nf4" : "fp4";
      const std::string prefix = concat(dense.name, ".", name, nested ? ".nested." : ".plain.");
      const Bnb4Parts parts = quantise_bnb4(dense.name, dense.tensor, code, nested);
      results.push_back({prefix + "codes", parts.codes});
      results.push_back({prefix + "absmax", parts.scales});
      results.push_back({prefix + "quant_map", bnb4_values(code)});
      if (nested) {
        results.push_back({prefix + "nested_absmax", parts.group_scales});
        results.push_back({prefix + "nested_quant_map", parts.scale_map});
        results.push_back({prefix + "offset", at::full({1}, parts.offset)});
      }
      add_decoded(prefix, Bnb4Weight(parts));
    }
}

/// Only where float16 holds every number: the rest is refused.
void add_int8(const NamedTensor& dense) {
  if (!(dense.tensor.to(at::kFloat).abs().max().item<float>() < 65520.0f)) return;
  const auto weight = quantise_int8_rows(dense.name, dense.tensor);
  results.push_back({dense.name + ".int8.codes", weight->codes()});
  results.push_back({dense.name + ".int8.scales", weight->scales()});
  add_decoded(dense.name + ".int8.", *weight);
}

}  // namespace
}  // namespace isogrid

int main(int, char** words) {
  const at::NoGradGuard no_grad;
  for (const isogrid::NamedTensor& dense : isogrid::read_tensors(words[1])) {
    isogrid::add_bnb4(dense);
    isogrid::add_int8(dense);
  }
  isogrid::write_tensors(words[2], isogrid::results);
  return 0;
}
