// parity_lut OP INPUT.safetensors OUTPUT.safetensors: what the look-up-table weights of quant/ make
// of the tensors of INPUT, for Python to compare. Every op writes `weight`, and with a `d_weight`
// the gradients of its float parts under their names with d_ before them.
#include <ATen/ops/empty.h>

#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "core/error.h"
#include "core/tensor_file.h"
#include "quant/lut_balanced.h"
#include "quant/lut_convert.h"
#include "quant/lut_start.h"
#include "quant/lut_v1.h"
#include "quant/lut_v2.h"
#include "quant/packed_codes.h"

namespace isogrid {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

at::Tensor required(const Tensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail(ExitCode::usage, "INPUT: tensor ", name, " is missing");
  return found->second.clone();
}

at::Tensor wanted(const Tensors& tensors, const std::string& name) {
  return required(tensors, name).requires_grad_();
}

int64_t number(const Tensors& tensors, const std::string& name, int64_t otherwise) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? otherwise : found->second.item<int64_t>();
}

LutTable table_of(const Tensors& in) {
  LutTable table{required(in, "lut"), {}};
  if (in.count("lut_logits") != 0)
    table.logits = wanted(in, "lut_logits");
  else
    table.values.requires_grad_();
  return table;
}

LutV2Weight v2_of(const Tensors& in) {
  LutV2Parts parts;
  parts.table = table_of(in);
  parts.codes = pack_codes(required(in, "codes"), parts.bits());
  parts.a = wanted(in, "scale_A");
  parts.b = wanted(in, "scale_B");
  parts.g = wanted(in, "rank_magnitude");
  LutV2Options options;
  options.half = number(in, "half", 0) != 0;
  options.forward = static_cast<LutForward>(number(in, "forward", 0));
  return LutV2Weight("w", parts, options);
}

LutV1Parts v1_of(const Tensors& in) {
  LutV1Parts parts;
  parts.latent = required(in, "latent");
  if (number(in, "train_weights", 0) != 0) parts.latent.requires_grad_();
  if (number(in, "train_weights", 0) != 1) {
    parts.a = wanted(in, "scale_A");
    parts.b = wanted(in, "scale_B");
    parts.table = {wanted(in, "lut"), {}};
  } else {
    parts.a = required(in, "scale_A");
    parts.b = required(in, "scale_B");
    parts.table = {required(in, "lut"), {}};
  }
  return parts;
}

LutStartOptions start_options(const Tensors& in) {
  LutStartOptions options;
  options.bits = static_cast<int>(number(in, "bits", 4));
  options.rank = number(in, "rank", 4);
  options.group = number(in, "group", 32);
  options.start = static_cast<LutStart>(number(in, "start", 0));
  options.half = number(in, "half", 0) != 0;
  return options;
}

std::unique_ptr<WeightSource> source_of(const std::string& op, const Tensors& in) {
  if (op == "v2") return std::make_unique<LutV2Weight>(v2_of(in));
  if (op == "v1") return std::make_unique<LutV1Weight>("w", v1_of(in));
  if (op == "balanced")
    return std::make_unique<BalancedWeight>(wanted(in, "latent"), wanted(in, "raw_clip"),
                                            static_cast<int>(number(in, "bits", 2)));
  if (op == "v2_of_v1")
    return std::make_unique<LutV2Weight>(
        "w", v2_of_v1("w", LutV1Weight("w", v1_of(in)), number(in, "half", 0) != 0),
        LutV2Options{.half = number(in, "half", 0) != 0});
  if (op == "start_v2")
    return std::make_unique<LutV2Weight>(
        "w", start_lut_v2("w", required(in, "dense"), start_options(in)),
        LutV2Options{.half = number(in, "half", 0) != 0});
  if (op == "start_v1")
    return std::make_unique<LutV1Weight>(
        "w", start_lut_v1("w", required(in, "dense"), start_options(in)));
  fail(ExitCode::usage, op, ": no such op");
}

void answer(const std::string& op, const std::string& from, const std::string& to) {
  Tensors in;
  for (const NamedTensor& tensor : read_tensors(from)) in[tensor.name] = tensor.tensor;
  const std::unique_ptr<WeightSource> source = source_of(op, in);
  const auto type = in.count("float32") != 0 ? at::kFloat : at::kDouble;
  std::vector<NamedTensor> out;
  at::Tensor weight = at::empty({source->outputs(), source->inputs()}, type);
  source->materialise(weight, 0, source->outputs(), nullptr);
  out.push_back({"weight", weight});
  if (in.count("x") != 0) {
    const at::Tensor product = source->own_product(required(in, "x"));
    if (product.defined()) out.push_back({"product", product});
  }
  if (in.count("d_weight") != 0) source->accumulate(required(in, "d_weight"));
  source->visit("", Role::weight, [&](const TensorSlot& slot) {
    const std::string part = slot.name == ".weight" ? "latent" : slot.name.substr(1);
    out.push_back({part, slot.tensor->detach().clone()});
    if (slot.tensor->grad().defined()) out.push_back({"d_" + part, slot.tensor->grad()});
  });
  write_tensors(to, out);
}

}  // namespace
}  // namespace isogrid

int main(int count, char** words) {
  if (count != 4) return 64;
  try {
    isogrid::answer(words[1], words[2], words[3]);
  } catch (const isogrid::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
  return 0;
}
