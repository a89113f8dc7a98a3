// parity_gptq IN.safetensors OUT.safetensors BITS GROUP symmetric|asymmetric ORDER DAMPING: rounds
// the tensor "weight" [out, in] for the rows "inputs" [tokens, in], and writes what it decodes to.
#include <string>

#include "calibrate/gptq.h"
#include "calibrate/input_moments.h"
#include "core/tensor_file.h"

int main(int, char** words) {
  using namespace isogrid;
  at::Tensor weight;
  InputMoments moments;
  for (const NamedTensor& each : read_tensors(words[1]))
    if (each.name == "weight")
      weight = each.tensor;
    else
      moments.add(each.tensor);
  const std::string order = words[6];
  GptqOptions options;
  options.rule = {.bits = std::stoi(words[3]),
                  .group_size = std::stoi(words[4]),
                  .symmetric = std::string(words[5]) == "symmetric",
                  .scale_type = at::kFloat};
  options.order = order == "stored"      ? ColumnOrder::stored
                  : order == "scattered" ? ColumnOrder::scattered
                                         : ColumnOrder::important;
  options.damping = std::stod(words[7]);
  const GptqResult result = quantise_gptq("weight", weight, moments.second_moment(), options);
  const at::Tensor nearest = whole_weight(
      PackedGroupWeight(rounded_to_nearest("gptq", weight, options.rule)), at::kFloat, at::kCPU);
  write_tensors(words[2],
                {{"rounded", whole_weight(PackedGroupWeight(result.parts), at::kFloat, at::kCPU)},
                 {"nearest", nearest}});
  return 0;
}
