#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "calibrate/block_walk.h"
#include "calibrate/gptq.h"
#include "core/error.h"
#include "core/log.h"
#include "quant/dense.h"

namespace isogrid {
namespace {

void round_linear(const std::string& name, Linear& linear, const at::Tensor& moment,
                  const GptqOptions& options, const char* format, PackedModel& packed) {
  const at::Tensor dense = linear.weight->resident(at::kFloat);
  GptqResult result = quantise_gptq(name, dense, moment, options);
  result.parts.format = format;
  const PackedGroupWeight source(result.parts);
  const at::Tensor rounded = whole_weight(source, at::kFloat, at::kCPU);
  note_error(packed, name, rounded, dense, moment);
  packed.linears[name] = std::move(result.parts);
  linear.weight = std::make_shared<DenseWeight>(rounded);
}

}  // namespace

void note_error(PackedModel& packed, const std::string& name, const at::Tensor& rounded,
                const at::Tensor& dense, const at::Tensor& moment) {
  const double whole = product_error(dense, moment);
  const double error = whole > 0 ? std::sqrt(product_error(rounded - dense, moment) / whole) : 0.0;
  log_debug(concat(name, ": the product is off by ", error * 100, " %"));
  if (error < packed.worst_error) return;
  packed.worst_error = error;
  packed.worst_layer = name;
}

PackedModel calibrate_gptq(const CausalLm& model, const std::vector<Batch>& rows,
                           const GptqOptions& options, const char* format, const LinearFits& fits,
                           const CalibrationProgress& progress) {
  PackedModel packed;
  const auto round_group = [&](SeenGroup& seen) {
    const std::vector<std::string> names = seen.names();
    const at::Tensor moment = seen.inputs.second_moment();
    for (size_t i = 0; i < names.size(); ++i) {
      Linear& linear = seen.projection().linears[i];
      if (fits && !fits(linear.weight->outputs(), linear.weight->inputs()))
        packed.left_dense.push_back(names[i]);
      else
        round_linear(names[i], linear, moment, options, format, packed);
    }
  };
  walk_blocks(model, rows, round_group, progress);
  return packed;
}

void use_packed(CausalLm& model, const PackedModel& packed) {
  size_t used = 0;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    const auto found = packed.linears.find(name);
    if (found == packed.linears.end()) return;
    linear.weight = std::make_shared<PackedGroupWeight>(found->second);
    ++used;
  });
  model.visit([&](const TensorSlot& slot) {
    const auto found = packed.changed.find(slot.name);
    if (found != packed.changed.end())
      *slot.tensor = found->second.to(slot.tensor->device(), slot.tensor->scalar_type());
  });
  if (used != packed.linears.size())
    fail(ExitCode::internal, packed.linears.size() - used, " packed weights fit no linear");
}

}  // namespace isogrid
