#include "trainer/commands/calibration.h"

#include <cmath>

#include "calibrate/awq.h"
#include "calibrate/gptq.h"
#include "core/error.h"
#include "core/log.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

ColumnOrder order_named(const std::string& name) {
  if (name == "stored") return ColumnOrder::stored;
  return name == "scattered" ? ColumnOrder::scattered : ColumnOrder::important;
}

GptqOptions gptq_options(const ExportConfig& config, int bits, int64_t group_size) {
  GptqOptions options;
  options.rule.bits = bits;
  options.rule.group_size = group_size;
  options.rule.symmetric = config.export_quantization_symmetric;
  options.order = order_named(config.export_quantization_order);
  options.damping = config.export_quantization_damping;
  return options;
}

PackedModel calibrated_gptq(const RunConfig& config, int bits, int64_t group_size,
                            const CausalLm& model, const std::vector<Batch>& rows,
                            const CalibrationProgress& progress) {
  return calibrate_gptq(
      model, rows, gptq_options(config.exporting, bits, group_size), "gptq",
      [bits](int64_t outputs, int64_t inputs) { return fits_gptq(outputs, inputs, bits); },
      progress);
}

PackedModel calibrated_ct(const RunConfig& config, int64_t group_size, const CausalLm& model,
                          const std::vector<Batch>& rows, const CalibrationProgress& progress) {
  GptqOptions options = gptq_options(config.exporting, 4, group_size);
  options.rule.symmetric = true;
  // Readers take the scales in the type of the model's other weights.
  const std::string& stored = model.config.stored_dtype;
  options.rule.scale_type = stored == "bfloat16"  ? at::kBFloat16
                            : stored == "float16" ? at::kHalf
                                                  : at::kFloat;
  if (options.order == ColumnOrder::scattered) options.order = ColumnOrder::important;
  return calibrate_gptq(
      model, rows, options, "ct",
      [group_size](int64_t, int64_t inputs) { return fits_compressed_tensors(inputs, group_size); },
      progress);
}

PackedModel calibrated_awq(int64_t group_size, const CausalLm& model,
                           const std::vector<Batch>& rows, const CalibrationProgress& progress) {
  AwqOptions options;
  options.rule.group_size = group_size;
  return calibrate_awq(
      model, rows, options,
      [group_size](int64_t outputs, int64_t inputs) {
        return fits_awq(outputs, inputs, group_size);
      },
      progress);
}

}  // namespace

int64_t chosen_group_size(const WantedExport& wanted, CausalLm& model) {
  if (wanted.group_size != 0 || wanted.format->group_sizes.empty()) return wanted.group_size;
  for (const int64_t size : {128, 64, 32}) {
    bool divides = true;
    visit_linears(model, [&](const std::string&, Linear& linear) {
      divides = divides && linear.weight->inputs() % size == 0;
    });
    if (divides) return size;
  }
  return 32;
}

PackedModel calibrated_model(const RunConfig& config, const WantedExport& wanted,
                             int64_t group_size, CausalLm& model, const CalibrationText& text) {
  const std::string name = concat(wanted.format->name, ":", wanted.variant);
  log_info(concat(name, ": groups of ",
                  group_size == -1 ? "whole rows" : std::to_string(group_size), ", calibrated on ",
                  text.origin));
  ProgressLine line(name, static_cast<int64_t>(model.blocks.size()) * 4);
  const CalibrationProgress progress = [&](int64_t done, int64_t) { line.show(done); };
  PackedModel packed;
  if (wanted.format->name == "awq")
    packed = calibrated_awq(group_size, model, text.rows, progress);
  else if (wanted.format->name == "ct")
    packed = calibrated_ct(config, group_size, model, text.rows, progress);
  else
    packed =
        calibrated_gptq(config, std::stoi(wanted.variant), group_size, model, text.rows, progress);
  packed.text = text.origin;
  if (!packed.left_dense.empty())
    log_warning(
        concat(name, ": ", packed.left_dense.size(),
               " linears have a shape this format cannot pack and stay dense; the first is ",
               packed.left_dense.front()));
  if (!packed.worst_layer.empty())
    log_info(concat(name, ": the worst layer is ", packed.worst_layer, ", whose product is off by ",
                    std::round(packed.worst_error * 10000) / 100, " %"));
  return packed;
}

}  // namespace isogrid
