#include "trainer/loss/distillation.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "models/score.h"
#include "trainer/loss/sampled_tokens.h"

namespace isogrid {
namespace {

at::ScalarType loss_type(const at::Tensor& hidden) {
  return hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

KdForm form_named(const std::string& name) {
  if (name == "exact") return KdForm::exact;
  if (name == "candidates") return KdForm::candidates;
  return name == "a" ? KdForm::a : KdForm::b;
}

/// Where the last labelled row of each document stands among the labelled rows, and how many there
/// are in it.
struct LastRows {
  std::vector<int64_t> places;
  std::vector<double> labels;
};

LastRows last_rows(const Batch& batch) {
  LastRows last;
  size_t at = 0;
  for (const int64_t end : batch.document_ends) {
    const size_t begin = at;
    while (at < batch.label_rows.size() && batch.label_rows[at] < end) ++at;
    if (at == begin) continue;
    last.places.push_back(static_cast<int64_t>(at) - 1);
    last.labels.push_back(static_cast<double>(at - begin));
  }
  return last;
}

bool takes_first_among(KdForm form) { return form == KdForm::candidates || form == KdForm::b; }

/// Of the cross-entropy over the whole vocabulary against the first guess, on every row.
double first_weight(const KdSettings& settings) {
  if (settings.form == KdForm::b) return 0;
  return settings.hard_full + (takes_first_among(settings.form) ? 0 : settings.hard_top1);
}

KdParts parts_of(const KdSettings& settings, int64_t rows, const at::TensorOptions& options) {
  KdParts parts{.temperature = settings.temperature,
                .divergence = settings.weight,
                .labels = settings.label_weight,
                .first = {},
                .among = takes_first_among(settings.form) ? settings.hard_top1 : 0,
                .sampled = settings.sampled_ce};
  if (first_weight(settings) != 0) parts.first = at::full({rows}, first_weight(settings), options);
  return parts;
}

/// Behind the teacher's guesses the tokens that kd_sampled_ce holds them against.
void append_sampled(const Batch& batch, const KdSettings& settings, int64_t vocabulary,
                    TeacherOutcomes& teacher) {
  if (settings.sampled_ce == 0) return;
  const at::Tensor drawn = sampled_tokens(batch, settings, vocabulary);
  teacher.ids = at::cat({teacher.ids, drawn.to(teacher.ids.device())}, 1);
}

/// Form b asks for the first guess over the whole vocabulary at each document's last label, where
/// it counts as much as all labels of the document: for documents of one length that is the mean
/// over documents.
at::Tensor with_last_rows(const at::Tensor& losses, const at::Tensor& hidden, WeightSource& head,
                          const Batch& batch, const at::Tensor& rows, const at::Tensor& labels,
                          const TeacherOutcomes& teacher, double weight,
                          std::optional<double> known_factor) {
  const LastRows last = last_rows(batch);
  const at::Tensor places = at::tensor(last.places, at::kLong).to(rows.device());
  const auto picked = [&](const at::Tensor& x) { return at::index_select(x, 0, places); };
  KdParts parts;
  parts.first = at::tensor(last.labels, losses.options()) * weight;
  const at::Tensor extra =
      head_loss(hidden, head, picked(rows),
                whole_logits_loss(
                    {picked(teacher.ids), picked(teacher.log_probs), picked(teacher.probs), {}, {}},
                    picked(labels), parts),
                known_factor);
  return losses.index_add(0, places, extra);
}

}  // namespace

Distillation distillation_of(const KdConfig& config, uint64_t seed) {
  return {.settings = {.form = form_named(config.kd_loss),
                       .temperature = config.kd_temperature,
                       .weight = config.kd_weight,
                       .label_weight = config.kd_ce_weight,
                       .hard_top1 = config.kd_hard_top1,
                       .hard_full = config.kd_hard_full,
                       .sampled_ce = config.kd_sampled_ce,
                       .sampled_negatives = config.kd_sampled_negatives,
                       .seed = seed},
          .hard_top1_end = config.kd_hard_top1_end};
}

KdSettings settings_at(const Distillation& distillation, int64_t step, int64_t total) {
  KdSettings settings = distillation.settings;
  settings.step = step;
  if (!distillation.hard_top1_end) return settings;
  const double share =
      total > 1 ? std::min(1.0, static_cast<double>(step) / static_cast<double>(total - 1)) : 1.0;
  settings.hard_top1 += share * (*distillation.hard_top1_end - settings.hard_top1);
  return settings;
}

at::Tensor distillation_loss(const at::Tensor& hidden, WeightSource& head, const Batch& batch,
                             const at::Tensor& rows, const at::Tensor& labels,
                             const KdSettings& settings, std::optional<double> known_factor) {
  if (!batch.teacher) fail(ExitCode::internal, "a batch to distil from has no teacher");
  const auto options = hidden.options().dtype(loss_type(hidden));
  TeacherOutcomes teacher =
      outcomes_of(*batch.teacher, settings, loss_type(hidden), hidden.device());
  append_sampled(batch, settings, head.outputs(), teacher);
  const KdParts parts = parts_of(settings, rows.size(0), options);
  const bool whole =
      settings.form == KdForm::exact || settings.label_weight != 0 || parts.first.defined();
  const at::Tensor losses =
      whole ? head_loss(hidden, head, rows, whole_logits_loss(teacher, labels, parts), known_factor)
            : gathered_loss(hidden, head, rows, teacher, parts, known_factor);
  if (settings.form != KdForm::b || settings.hard_full == 0) return losses;
  return with_last_rows(losses, hidden, head, batch, rows, labels, teacher, settings.hard_full,
                        known_factor);
}

at::Tensor distillation_loss_composition(const at::Tensor& hidden, const at::Tensor& weight,
                                         const Batch& batch, const at::Tensor& rows,
                                         const at::Tensor& labels, const KdSettings& settings) {
  const TeacherOutcomes teacher =
      outcomes_of(*batch.teacher, settings, loss_type(hidden), hidden.device());
  const at::Tensor logits =
      at::mm(at::index_select(hidden, 0, rows), weight.t()).to(loss_type(hidden));
  const at::Tensor scaled = logits / settings.temperature;
  const at::Tensor candidates = scaled.gather(1, teacher.ids);
  at::Tensor log_probs = at::log_softmax(candidates, 1), rest;
  if (teacher.rest.defined()) {
    const at::Tensor all = at::logsumexp(scaled, {1});
    log_probs = candidates - all.unsqueeze(1);
    const at::Tensor masked = scaled.scatter(1, teacher.ids, -1e30);
    rest = teacher.rest * (teacher.log_rest - (at::logsumexp(masked, {1}) - all));
  }
  at::Tensor losses = (teacher.probs * (teacher.log_probs - log_probs)).sum(1);
  if (rest.defined()) losses = losses + rest;
  losses = losses * (settings.weight * settings.temperature * settings.temperature);
  const at::Tensor plain = at::log_softmax(logits, 1);
  losses = losses - plain.gather(1, labels.unsqueeze(1)).squeeze(1) * settings.label_weight;
  const at::Tensor first = plain.gather(1, teacher.ids.slice(1, 0, 1)).squeeze(1);
  losses = losses - first * first_weight(settings);
  if (takes_first_among(settings.form))
    losses = losses -
             at::log_softmax(logits.gather(1, teacher.ids), 1).select(1, 0) * settings.hard_top1;
  if (settings.sampled_ce != 0) {
    TeacherOutcomes wide = teacher;
    append_sampled(batch, settings, weight.size(0), wide);
    losses =
        losses - at::log_softmax(logits.gather(1, wide.ids), 1).select(1, 0) * settings.sampled_ce;
  }
  if (settings.form == KdForm::b && settings.hard_full != 0) {
    const LastRows last = last_rows(batch);
    at::Tensor weights = at::zeros({rows.size(0)}, losses.options());
    weights.index_put_({at::tensor(last.places, at::kLong)},
                       at::tensor(last.labels, losses.options()) * settings.hard_full);
    losses = losses - first * weights;
  }
  return losses;
}

KdFigures kd_figures(const CausalLm& model, const at::Tensor& hidden, const at::Tensor& labels,
                     const TeacherTokens& teacher, const KdSettings& settings) {
  const at::NoGradGuard no_grad;
  const TeacherOutcomes outcomes =
      outcomes_of(teacher, settings, loss_type(hidden), hidden.device());
  KdFigures figures;
  const auto sum = [](const at::Tensor& x) { return x.to(at::kDouble).sum().item<double>(); };
  const int64_t rows = hidden.size(0), size = head_rows_per_chunk(model.config.vocabulary);
  for (int64_t first = 0; first < rows; first += size) {
    const int64_t last = std::min(rows, first + size);
    const auto cut = [&](const at::Tensor& x) { return x.defined() ? x.slice(0, first, last) : x; };
    const at::Tensor logits = head_logits(model, hidden.slice(0, first, last));
    figures.label_loss += sum(cross_entropy(logits, cut(labels)));
    figures.agreed += logits.argmax(1).eq(cut(outcomes.ids).select(1, 0)).sum().item<int64_t>();
    const TeacherOutcomes part{cut(outcomes.ids), cut(outcomes.log_probs), cut(outcomes.probs),
                               cut(outcomes.log_rest), cut(outcomes.rest)};
    figures.divergence += sum(divergences(logits, part, settings.temperature));
  }
  return figures;
}

}  // namespace isogrid
