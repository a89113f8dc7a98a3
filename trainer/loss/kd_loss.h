#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "data/batch.h"
#include "trainer/loss/head_loss.h"

namespace isogrid {

/// What the student's distribution is held against.
enum class KdForm {
  exact,       // the teacher's guesses and, as one more outcome, everything else
  candidates,  // guesses and negatives, both sides renormalised over them
  a,           // guesses alone; the hard target counts over the whole vocabulary
  b,           // guesses and negatives; the hard target counts among them
};

struct KdSettings {
  KdForm form = KdForm::exact;
  double temperature = 2;
  double weight = 1;        // of the divergence, which counts T^2
  double label_weight = 0;  // of the labels' cross-entropy
  double hard_top1 = 0;     // of the cross-entropy against the teacher's first guess
  double hard_full = 0;     // of the same over the whole vocabulary; in b at last tokens only
  /// Of the cross-entropy against that guess among the guesses and so many tokens drawn by chance,
  /// which seed and step decide (a only).
  double sampled_ce = 0;
  int64_t sampled_negatives = 0;
  uint64_t seed = 0;
  int64_t step = 0;
};

/// What a teacher holds likely at n rows, at the temperature of the loss, on the model's device.
struct TeacherOutcomes {
  at::Tensor ids;             // int64 [n, c], behind them tokens drawn for KdParts::sampled
  at::Tensor log_probs;       // [n, c], adding up to one with the rest
  at::Tensor probs;           // their exponentials
  at::Tensor log_rest, rest;  // [n]: everything else as one outcome; undefined: there is none
};
/// Refuses (78) a form or temperature whose tail the cache does not hold.
TeacherOutcomes outcomes_of(const TeacherTokens& teacher, const KdSettings& settings,
                            at::ScalarType type, at::Device device);

/// Weights of the parts of a loss of logits.
struct KdParts {
  double temperature = 1;
  double divergence = 0;
  double labels = 0;      // cross-entropy over the vocabulary against the label
  at::Tensor first = {};  // [n] or undefined: the same against the teacher's first guess
  double among = 0;       // cross-entropy among the candidates against that guess
  double sampled = 0;     // the same among the candidates and the tokens drawn beside them
};

/// A sum of those parts over whole rows of logits. `labels` int64 [n].
std::shared_ptr<const LogitsLoss> whole_logits_loss(TeacherOutcomes teacher, at::Tensor labels,
                                                    KdParts parts);

/// The divergence and the parts among the ids from their logits [n, c + drawn] alone, with
/// gradient.
struct CandidateLosses {
  at::Tensor losses, d_logits;  // [n], [n, c + drawn]
};
CandidateLosses candidate_losses(const at::Tensor& logits, const TeacherOutcomes& teacher,
                                 const KdParts& parts);

/// The divergence of each row at the parts' temperature, T^2 counted. The logits are given up.
at::Tensor divergences(at::Tensor logits, const TeacherOutcomes& teacher, double temperature);

/// The same loss for the gathered candidates only: head rows are fetched for a few tokens at a
/// time. Of the parts, `labels` and `first` must not count. Otherwise as head_loss().
at::Tensor gathered_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                         const TeacherOutcomes& teacher, const KdParts& parts,
                         std::optional<double> known_factor = {});

}  // namespace isogrid
