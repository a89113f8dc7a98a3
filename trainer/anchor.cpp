#include "trainer/anchor.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "core/error.h"
#include "data/row_plan.h"
#include "trainer/step.h"

namespace isogrid {
namespace {

/// Rows that predict something, so many of them by chance.
std::vector<int64_t> drawn_rows(const RowStore& rows, int64_t wanted, uint64_t seed) {
  ExampleList labelled;
  for (int64_t row = 0; row < rows.rows(); ++row)
    if (rows.row_label_tokens(row) > 0) labelled.push_back(static_cast<uint64_t>(row));
  const auto count = std::min(wanted, static_cast<int64_t>(labelled.size()));
  const ExampleList drawn = draw_examples(labelled, count, seed);
  return {drawn.begin(), drawn.end()};
}

Batch batch_of_row(const RowStore& rows, int64_t row) {
  Batch batch;
  rows.append_row(row, batch);
  return batch;
}

}  // namespace

Anchor plan_anchor(const KdConfig& config, uint64_t seed, std::shared_ptr<const RowStore> rows,
                   int64_t vocabulary) {
  Anchor anchor;
  anchor.rows = std::move(rows);
  anchor.kept.vocabulary = vocabulary;
  anchor.kept.top_k = std::min(kAnchorGuesses, vocabulary);
  anchor.kept.temperatures = {1};
  anchor.places = drawn_rows(*anchor.rows, config.kd_anchor_samples, seed);
  anchor.weight = config.kd_anchor_weight;
  anchor.interval = config.kd_anchor_interval;
  for (const int64_t row : anchor.places) {
    const auto labels = static_cast<int64_t>(batch_of_row(*anchor.rows, row).label_rows.size());
    TeacherGuesses guesses;
    guesses.ids = at::empty({labels, anchor.kept.top_k}, at::kInt);
    guesses.log_probs = at::empty({labels, anchor.kept.top_k}, at::kFloat);
    guesses.log_tails = at::empty({labels, 1}, at::kFloat);
    anchor.references.push_back(std::move(guesses));
  }
  return anchor;
}

void read_anchor(Anchor& anchor, const CausalLm& model) {
  const Teacher reader(model, anchor.kept);
  for (size_t i = 0; i < anchor.places.size(); ++i) {
    const auto pieces = anchor.rows->pieces(anchor.places[i]);
    std::vector<KdDocument> documents;
    for (const RowPiece& piece : pieces) documents.push_back(anchor.rows->words(piece));
    anchor.references[i] = reader.read(documents, /*first_document=*/0);
    if (!are_finite(anchor.references[i]))
      fail(ExitCode::numeric, "kd_anchor: the model's logits are not finite on the row of ",
           anchor.rows->place(pieces.front().example));
  }
}

void visit_anchor(Anchor& anchor,
                  const std::function<void(const std::string& name, at::Tensor& tensor)>& visitor) {
  for (size_t i = 0; i < anchor.references.size(); ++i) {
    const std::string name = concat("anchor.", i, ".");
    visitor(name + "ids", anchor.references[i].ids);
    visitor(name + "log_probs", anchor.references[i].log_probs);
    visitor(name + "log_tails", anchor.references[i].log_tails);
  }
}

double hold_to_anchor(Training& training, int64_t step, double scale) {
  if (!training.anchor || step % training.anchor->interval != 0) return 0;
  const Anchor& anchor = *training.anchor;
  const int64_t look = step / anchor.interval;
  const auto place = static_cast<size_t>(look) % anchor.places.size();
  Batch batch = batch_of_row(*anchor.rows, anchor.places[place]);
  batch.teacher = as_tokens(anchor.references[place], anchor.kept);
  batch.epoch = static_cast<uint64_t>(look);  // the noise is another at every look
  PassSettings settings = training.pass;
  settings.kd = KdSettings{.form = KdForm::exact, .temperature = 1, .weight = anchor.weight};
  const auto labels = static_cast<double>(batch.label_rows.size());
  const ForwardPass pass(training.model, batch, settings, scale / labels);
  pass.backward();
  return pass.loss_sum() / labels;
}

int64_t anchor_bytes(const KdConfig& config, int64_t labels_per_row) {
  constexpr int64_t kBytesPerGuess = sizeof(int32_t) + sizeof(float);
  if (!config.kd_anchor) return 0;
  return config.kd_anchor_samples * labels_per_row * (kAnchorGuesses * kBytesPerGuess + 4);
}

}  // namespace isogrid
