#include "trainer/commands/merge_base.h"

#include <cmath>

#include "core/error.h"
#include "core/log.h"
#include "data/rows.h"
#include "quant/registry.h"
#include "trainer/commands/calibration.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"
#include "trainer/forward_pass.h"
#include "trainer/open_model.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

/// Rows to measure on, every token of text labelled where nobody labelled any.
struct MeasuredRows {
  std::vector<Batch> rows;
  std::string origin;
};

void append_rows_of(const RowStore& store, std::vector<Batch>& rows) {
  for (int64_t row = 0; row < store.rows(); ++row) {
    rows.emplace_back();
    store.append_row(row, rows.back());
  }
}

void label_everything(Batch& row) {
  const int64_t tokens = row.tokens();
  row.labels.assign(static_cast<size_t>(tokens), kNoLabel);
  row.label_rows.clear();
  for (int64_t document = 0, token = 0; document < row.documents(); ++document)
    for (; token < row.document_ends[document]; ++token)
      if (token + 1 < row.document_ends[document]) {
        row.labels[token] = row.input_ids[token + 1];
        row.label_rows.push_back(token);
      }
}

MeasuredRows rows_for_merge(const RunConfig& config) {
  MeasuredRows measured;
  if (config.data.dataset.empty() && config.data.eval_dataset.empty()) {
    CalibrationText text = open_calibration_text(config);
    for (Batch& row : text.rows) label_everything(row);
    return {std::move(text.rows), text.origin};
  }
  const DataCoding coding = open_data_coding(config);
  DataProgress progress(config);
  const PreparedData data = prepare_data(config, coding.coder, *coding.layout, progress.hooks());
  for (const EvalRows& set : data.eval) append_rows_of(*set.rows, measured.rows);
  measured.origin = "the evaluation rows";
  if (!measured.rows.empty()) return measured;
  append_rows_of(*data.train, measured.rows);
  measured.origin = "the training rows (eval_dataset or val_size would hold some out)";
  return measured;
}

at::Tensor merge_float32(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.detach().to(at::kFloat) : tensor;
}

/// The same model computing in float32; the matrices stay as they are kept.
CausalLm measured_model(const CausalLm& stored) {
  CausalLm model = stored;
  model.compute = at::kFloat;
  model.final_norm.weight = merge_float32(model.final_norm.weight);
  for (Block& block : model.blocks) {
    for (Projection* group : {&block.qkv, &block.output, &block.gate_up, &block.down}) {
      group->norm.weight = merge_float32(group->norm.weight);
      for (Linear& linear : group->linears) linear.bias = merge_float32(linear.bias);
    }
    block.attention.q_norm.weight = merge_float32(block.attention.q_norm.weight);
    block.attention.k_norm.weight = merge_float32(block.attention.k_norm.weight);
  }
  return model;
}

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

ExportSource opened_source(const RunConfig& config, bool dequantised) {
  return open_export_source(model_folder_path(config), open_adapters(config),
                            dequantised ? make_quantiser(config.quantisation) : Quantiser());
}

ExportSource better_of_both(const RunConfig& config, MergeChoice& choice) {
  const MeasuredRows measured = rows_for_merge(config);
  ExportSource original = opened_source(config, false), dequantised = opened_source(config, true);
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
  if (stored_quantised || !trained_on_bits || wanted == "original")
    return opened_source(config, false);
  if (wanted == "dequantized") {
    choice.dequantised = true;
    return opened_source(config, true);
  }
  if (config.model.adapter_name_or_path.empty()) return opened_source(config, false);
  ExportSource source = better_of_both(config, choice);
  log_info(concat("merge_base: auto: ", choice.described()));
  return source;
}

}  // namespace isogrid
