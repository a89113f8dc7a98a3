#include "trainer/anchor.h"

#include <algorithm>

#include "core/error.h"
#include "data/row_plan.h"
#include "trainer/step.h"
#include "trainer/teacher_guesses.h"

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

TeacherTokens reference_of(const Teacher& model, const KdMeta& meta, const RowStore& rows,
                           int64_t row) {
  std::vector<KdDocument> documents;
  for (const RowPiece& piece : rows.pieces(row)) documents.push_back(rows.words(piece));
  const TeacherGuesses guesses = model.read(documents, /*first_document=*/0);
  if (!are_finite(guesses))
    fail(ExitCode::numeric, "kd_anchor: the model's logits are not finite on the row of ",
         rows.place(rows.pieces(row).front().example));
  return as_tokens(guesses, meta);
}

}  // namespace

Anchor make_anchor(const KdConfig& config, uint64_t seed, std::shared_ptr<const RowStore> rows,
                   const CausalLm& model, int64_t vocabulary) {
  KdMeta meta;
  meta.vocabulary = vocabulary;
  meta.top_k = std::min(kAnchorGuesses, vocabulary);
  meta.temperatures = {1};
  const Teacher reader(model, meta);
  Anchor anchor{.rows = std::move(rows),
                .places = {},
                .references = {},
                .weight = config.kd_anchor_weight,
                .interval = config.kd_anchor_interval};
  anchor.places = drawn_rows(*anchor.rows, config.kd_anchor_samples, seed);
  for (const int64_t row : anchor.places)
    anchor.references.push_back(reference_of(reader, meta, *anchor.rows, row));
  return anchor;
}

double hold_to_anchor(Training& training, int64_t step, double scale) {
  if (!training.anchor || step % training.anchor->interval != 0) return 0;
  const Anchor& anchor = *training.anchor;
  const int64_t look = step / anchor.interval;
  const auto place = static_cast<size_t>(look) % anchor.places.size();
  Batch batch;
  anchor.rows->append_row(anchor.places[place], batch);
  batch.teacher = anchor.references[place];
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
