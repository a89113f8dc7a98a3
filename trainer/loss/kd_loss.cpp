#include "trainer/loss/kd_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "models/row_softmax.h"

namespace isogrid {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

at::Tensor at_least_float(const at::Tensor& x) {
  return x.to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

template <typename T>
at::Tensor matrix_of(const std::vector<T>& values, int64_t columns, at::ScalarType type) {
  const auto rows = static_cast<int64_t>(values.size()) / std::max<int64_t>(1, columns);
  return at::from_blob(const_cast<T*>(values.data()), {rows, columns},
                       at::TensorOptions().dtype(c10::CppTypeToScalarType<T>::value))
      .to(type, /*non_blocking=*/false, /*copy=*/true);
}

at::Tensor divided(const at::Tensor& x, double temperature) {
  return temperature == 1 ? x : x / temperature;
}

at::Tensor log_tail_at(const TeacherTokens& teacher, double temperature, at::ScalarType type) {
  const auto found =
      std::find(teacher.temperatures.begin(), teacher.temperatures.end(), temperature);
  if (found == teacher.temperatures.end()) {
    std::string list;
    for (const double t : teacher.temperatures) list += concat(list.empty() ? "" : ", ", t);
    fail(ExitCode::configuration, "kd_temperature = ", temperature,
         ": the cache holds what is left over at ", list.empty() ? "no temperature" : list,
         "; allowed are those, or kd_loss: candidates, a or b, which need it not");
  }
  const auto columns = static_cast<int64_t>(teacher.temperatures.size());
  return matrix_of(teacher.log_tails, columns, type)
      .select(1, found - teacher.temperatures.begin());
}

/// p log(p / q) with nothing where p is nothing.
at::Tensor rest_divergence(const TeacherOutcomes& teacher, const at::Tensor& log_rest) {
  return at::where(teacher.rest > 0, teacher.rest * (teacher.log_rest - log_rest),
                   at::zeros({}, teacher.rest.options()));
}

/// The student's side of an exact divergence. Its logits at the teacher's ids are taken out of the
/// whole, so that what is left over is summed by itself: one minus the others would cancel.
struct StudentOutcomes {
  at::Tensor log_probs;  // [n, c]
  at::Tensor log_rest;   // [n]
  at::Tensor log_sum;    // [n]: of the rest alone, before it is set against the whole
};

StudentOutcomes student_outcomes(const at::Tensor& columns, const at::Tensor& masked,
                                 double temperature) {
  const at::Tensor candidates = divided(columns, temperature);
  const at::Tensor rest = row_log_sums(masked, temperature);
  const at::Tensor all = at::logaddexp(rest, at::logsumexp(candidates, {1}));
  return {candidates - all.unsqueeze(1), rest - all, rest};
}

at::Tensor exact_divergence(const StudentOutcomes& student, const TeacherOutcomes& teacher) {
  return (teacher.probs * (teacher.log_probs - student.log_probs)).sum(1) +
         rest_divergence(teacher, student.log_rest);
}

TeacherOutcomes sliced(const TeacherOutcomes& teacher, int64_t first, int64_t count) {
  const auto part = [&](const at::Tensor& x) {
    return x.defined() ? x.slice(0, first, first + count) : x;
  };
  return {part(teacher.ids), part(teacher.log_probs), part(teacher.probs), part(teacher.log_rest),
          part(teacher.rest)};
}

/// exp(x / T - log_sum) factor at one column of each row [n].
at::Tensor softened(const at::Tensor& x, const RowSoftmax& softmax) {
  return at::exp(divided(x, softmax.temperature) - softmax.log_sums) * softmax.factors;
}

class WholeLogitsLoss final : public LogitsLoss {
 public:
  WholeLogitsLoss(TeacherOutcomes teacher, at::Tensor labels, KdParts parts)
      : teacher_(std::move(teacher)), labels_(std::move(labels)), parts_(std::move(parts)) {}

  DifferentiatedCrossEntropy differentiate(at::Tensor logits, int64_t first,
                                           const at::Tensor& factors) const override {
    const int64_t rows = logits.size(0);
    const bool exact = teacher_.rest.defined() && parts_.divergence != 0;
    Work work{.logits = exact && softens_in_place(logits) ? logits : at_least_float(logits),
              .teacher = sliced(teacher_, first, rows),
              .label = labels_.slice(0, first, first + rows).unsqueeze(1)};
    work.columns = at_least_float(work.logits.gather(1, work.teacher.ids));
    work.label_logit = at_least_float(work.logits.gather(1, work.label)).squeeze(1);
    work.first = parts_.first.defined() ? parts_.first.slice(0, first, first + rows)
                                        : at::zeros({rows}, work.columns.options());
    if (exact)
      add_exact(work);
    else
      add_candidates(work);
    if (factors.defined()) work.logits.mul_(factors.to(work.logits.scalar_type()).unsqueeze(1));
    return {work.losses, work.logits};
  }

 private:
  struct Work {
    at::Tensor logits;  // becomes their gradient
    TeacherOutcomes teacher;
    at::Tensor label;                           // [n, 1]
    at::Tensor columns = {}, label_logit = {};  // logits of the outcomes, of the label
    at::Tensor first = {};                      // [n]: weight of the first guess
    at::Tensor losses = {};
  };
  bool has_hard() const { return parts_.labels != 0 || parts_.first.defined(); }
  at::Tensor hard_weights(const Work& work) const { return work.first + parts_.labels; }

  /// Cross-entropies over the vocabulary given the normaliser [n] of their softmax.
  at::Tensor hard_losses(const Work& work, const at::Tensor& norm) const {
    return hard_weights(work) * norm - work.label_logit * parts_.labels -
           work.first * work.columns.select(1, 0);
  }

  // Every column is written once, and where a one-hot target meets a probability near one the
  // difference is taken before it is rounded to the logits' type.
  void add_exact(Work& work) const {
    const double t = parts_.temperature, w = parts_.divergence * t;
    const at::ScalarType type = work.logits.scalar_type();
    work.logits.scatter_(1, work.teacher.ids, kMinusInfinity);
    const StudentOutcomes student = student_outcomes(work.columns, work.logits, t);
    work.losses = exact_divergence(student, work.teacher) * (w * t);
    at::Tensor d_columns = (student.log_probs.exp() - work.teacher.probs) * w;
    RowSoftmax rest{t, student.log_sum, (student.log_rest.exp() - work.teacher.rest) * w}, hard;
    if (has_hard()) {
      const StudentOutcomes plain =
          t == 1 ? student : student_outcomes(work.columns, work.logits, 1);
      const at::Tensor norm = work.columns.select(1, 0) - plain.log_probs.select(1, 0);
      work.losses = work.losses + hard_losses(work, norm);
      d_columns = d_columns + plain.log_probs.exp() * hard_weights(work).unsqueeze(1) -
                  work.teacher.ids.eq(work.label).to(d_columns.scalar_type()) * parts_.labels;
      d_columns.select(1, 0).sub_(work.first);
      const at::Tensor of_hard = plain.log_rest.exp() * hard_weights(work);
      if (t == 1)
        rest.factors = rest.factors + of_hard;
      else
        hard = {1, plain.log_sum, of_hard};
    }
    soften_rows(work.logits, rest, hard);
    if (parts_.labels != 0) {
      at::Tensor d_label = softened(work.label_logit, rest) - parts_.labels;
      if (hard.factors.defined()) d_label = d_label + softened(work.label_logit, hard);
      work.logits.scatter_(1, work.label, d_label.to(type).unsqueeze(1));
    }
    work.logits.scatter_(1, work.teacher.ids, d_columns.to(type));
  }

  void add_candidates(Work& work) const {
    const CandidateLosses among = candidate_losses(work.columns, work.teacher, parts_);
    work.losses = among.losses;
    if (has_hard()) {
      const at::Tensor norm = row_log_sums(work.logits, 1);
      work.losses = work.losses + hard_losses(work, norm);
      soften_rows(work.logits, {1, norm, hard_weights(work)});
    } else {
      work.logits.zero_();
    }
    // Negatives of other programs' caches may repeat: what each adds counts.
    work.logits.scatter_add_(1, work.teacher.ids, among.d_logits);
    work.logits.scatter_add_(1, work.label,
                             at::full_like(among.losses, -parts_.labels).unsqueeze(1));
    work.logits.scatter_add_(1, work.teacher.ids.slice(1, 0, 1), -work.first.unsqueeze(1));
  }

  TeacherOutcomes teacher_;
  at::Tensor labels_;
  KdParts parts_;
};

}  // namespace

TeacherOutcomes outcomes_of(const TeacherTokens& teacher, const KdSettings& settings,
                            at::ScalarType type, at::Device device) {
  TeacherOutcomes outcomes;
  const at::Tensor ids = matrix_of(teacher.ids, teacher.top_k, at::kLong);
  at::Tensor weights =
      divided(matrix_of(teacher.log_probs, teacher.top_k, type), settings.temperature);
  const bool takes_negatives = settings.form == KdForm::candidates || settings.form == KdForm::b;
  if (takes_negatives && teacher.negatives > 0) {
    outcomes.ids = at::cat({ids, matrix_of(teacher.negative_ids, teacher.negatives, at::kLong)}, 1);
    weights =
        at::cat({weights, divided(matrix_of(teacher.negative_log_probs, teacher.negatives, type),
                                  settings.temperature)},
                1);
  } else {
    outcomes.ids = ids;
  }
  at::Tensor norm = at::logsumexp(weights, {1});
  if (settings.form == KdForm::exact) {
    const at::Tensor tail = log_tail_at(teacher, settings.temperature, type);
    norm = at::logaddexp(norm, tail);
    outcomes.log_rest = (tail - norm).to(device);
    outcomes.rest = outcomes.log_rest.exp();
  }
  outcomes.log_probs = (weights - norm.unsqueeze(1)).to(device);
  outcomes.probs = outcomes.log_probs.exp();
  outcomes.ids = outcomes.ids.to(device);
  return outcomes;
}

std::shared_ptr<const LogitsLoss> whole_logits_loss(TeacherOutcomes teacher, at::Tensor labels,
                                                    KdParts parts) {
  return std::make_shared<WholeLogitsLoss>(std::move(teacher), std::move(labels), std::move(parts));
}

namespace {

/// Adds `weight` times the cross-entropy of `logits`, the first columns of all, against column 0.
void add_first_guess(const at::Tensor& logits, double weight, CandidateLosses& to) {
  const at::Tensor log_probs = at::log_softmax(logits, 1);
  to.losses = to.losses - log_probs.select(1, 0) * weight;
  at::Tensor d_logits = to.d_logits.slice(1, 0, logits.size(1));
  d_logits.add_(log_probs.exp(), weight);
  d_logits.select(1, 0).sub_(weight);
}

}  // namespace

CandidateLosses candidate_losses(const at::Tensor& logits, const TeacherOutcomes& teacher,
                                 const KdParts& parts) {
  const double t = parts.temperature;
  const at::Tensor wide = at_least_float(logits);
  const at::Tensor among = wide.slice(1, 0, teacher.probs.size(1));
  CandidateLosses result{at::zeros({wide.size(0)}, wide.options()), at::zeros_like(wide)};
  if (parts.divergence != 0) {
    const at::Tensor log_probs = at::log_softmax(divided(among, t), 1);
    result.losses =
        (teacher.probs * (teacher.log_probs - log_probs)).sum(1) * (parts.divergence * t * t);
    result.d_logits.slice(1, 0, among.size(1))
        .copy_((log_probs.exp() - teacher.probs) * (parts.divergence * t));
  }
  if (parts.among != 0) add_first_guess(among, parts.among, result);
  if (parts.sampled != 0) add_first_guess(wide, parts.sampled, result);
  return result;
}

at::Tensor divergences(at::Tensor logits, const TeacherOutcomes& teacher, double temperature) {
  if (!softens_in_place(logits)) logits = at_least_float(logits);
  const at::Tensor columns = at_least_float(logits.gather(1, teacher.ids));
  if (!teacher.rest.defined())
    return candidate_losses(columns, teacher, {.temperature = temperature, .divergence = 1}).losses;
  logits.scatter_(1, teacher.ids, kMinusInfinity);
  return exact_divergence(student_outcomes(columns, logits, temperature), teacher) *
         (temperature * temperature);
}

}  // namespace isogrid
