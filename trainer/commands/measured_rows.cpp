#include "trainer/commands/measured_rows.h"

#include <algorithm>

#include "data/rows.h"
#include "trainer/commands/calibration.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"

namespace isogrid {
namespace {

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

/// As many whole rows as have `most` tokens together, at least one.
void keep_first(std::vector<Batch>& rows, int64_t most) {
  if (most <= 0) return;
  int64_t tokens = 0;
  size_t kept = 0;
  while (kept < rows.size() && (kept == 0 || tokens + rows[kept].tokens() <= most))
    tokens += rows[kept++].tokens();
  rows.resize(kept);
}

MeasuredRows all_rows(const RunConfig& config) {
  MeasuredRows measured;
  if (config.data.dataset.empty() && config.data.eval_dataset.empty()) {
    CalibrationText text = open_calibration_text(config);
    for (Batch& row : text.rows) label_everything(row);
    return {std::move(text.rows), "the bundled text"};
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

at::Tensor in_float32(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.detach().to(at::kFloat) : tensor;
}

}  // namespace

int64_t MeasuredRows::labels() const {
  int64_t count = 0;
  for (const Batch& row : rows) count += static_cast<int64_t>(row.label_rows.size());
  return count;
}

MeasuredRows rows_to_measure(const RunConfig& config, int64_t most_tokens) {
  MeasuredRows measured = all_rows(config);
  keep_first(measured.rows, most_tokens);
  return measured;
}

CausalLm measured_model(const CausalLm& stored) {
  CausalLm model = stored;
  model.compute = at::kFloat;
  model.final_norm.weight = in_float32(model.final_norm.weight);
  for (Block& block : model.blocks) {
    for (Projection* group : {&block.qkv, &block.output, &block.gate_up, &block.down}) {
      group->norm.weight = in_float32(group->norm.weight);
      for (Linear& linear : group->linears) linear.bias = in_float32(linear.bias);
    }
    block.attention.q_norm.weight = in_float32(block.attention.q_norm.weight);
    block.attention.k_norm.weight = in_float32(block.attention.k_norm.weight);
  }
  return model;
}

}  // namespace isogrid
