#include "trainer/commands/merge_base.h"

#include <cmath>

#include "core/error.h"
#include "core/log.h"
#include "quant/registry.h"
#include "trainer/commands/measured_rows.h"
#include "trainer/forward_pass.h"
#include "trainer/open_model.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

double measured_loss(const CausalLm& stored, const std::vector<Batch>& rows,
                     const std::string& what) {
  const CausalLm model = measured_model(stored);
  ProgressLine line(what, static_cast<int64_t>(rows.size()));
  double sum = 0;
  int64_t labels = 0, done = 0;
  for (const Batch& row : rows) {
    if (!row.label_rows.empty()) sum += batch_loss_sum(model, row);
    labels += static_cast<int64_t>(row.label_rows.size());
    line.show(++done);
  }
  if (labels == 0)
    fail(ExitCode::configuration,
         "merge_base: auto: the rows have no label to measure a loss on; "
         "original or dequantized decides without");
  return sum / static_cast<double>(labels);
}

ExportSource opened(const RunConfig& config, bool dequantised) {
  return open_export_source(model_folder_path(config), open_adapters(config),
                            dequantised ? make_quantiser(config.quantisation) : Quantiser());
}

ExportSource better_of_both(const RunConfig& config, MergeChoice& choice) {
  const MeasuredRows measured = rows_to_measure(config);
  ExportSource original = opened(config, false), dequantised = opened(config, true);
  choice.measured_on = measured.origin;
  choice.loss_original = measured_loss(original.model, measured.rows, "merge_base: original");
  choice.loss_dequantised =
      measured_loss(dequantised.model, measured.rows, "merge_base: dequantized");
  choice.dequantised = *choice.loss_dequantised < *choice.loss_original;
  return choice.dequantised ? std::move(dequantised) : std::move(original);
}

}  // namespace

std::string MergeChoice::described() const {
  if (!loss_original) return "";
  return concat("merged into the ", dequantised ? "dequantized" : "original", " base: on ",
                measured_on, " the loss is ", *loss_original, " with the original weights and ",
                *loss_dequantised, " with what the adapter was trained on");
}

ExportSource open_merged_source(const RunConfig& config, MergeChoice& choice) {
  const std::string& wanted = config.finetuning.merge_base;
  const std::string path = model_folder_path(config);
  const bool stored_quantised =
      quantised_folder(open_model_folder(path).config, path + "/config.json") != nullptr;
  if (stored_quantised && wanted == "original")
    fail(ExitCode::configuration, "merge_base = original and model_name_or_path = ", path,
         ": this folder holds quantised weights only; name the folder of the original ones, and "
         "quantization_bit for how the adapter saw them");
  const bool trained_on_bits = config.quantisation.quantization_bit.has_value();
  if (!stored_quantised && wanted == "dequantized" && !trained_on_bits)
    fail(ExitCode::configuration,
         "merge_base = dequantized and quantization_bit, which is not set: say in which few bits "
         "the adapter saw the weights");
  if (stored_quantised || !trained_on_bits || wanted == "original") return opened(config, false);
  if (wanted == "dequantized") {
    choice.dequantised = true;
    return opened(config, true);
  }
  if (config.model.adapter_name_or_path.empty()) return opened(config, false);
  ExportSource source = better_of_both(config, choice);
  log_info(concat("merge_base: auto: ", choice.described()));
  return source;
}

}  // namespace isogrid
