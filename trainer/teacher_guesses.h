#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "data/kd_format.h"
#include "models/causal_lm.h"

namespace isogrid {

/// What a teacher holds likely at the labelled tokens of some documents, in order.
struct TeacherGuesses {
  at::Tensor ids;                 // int32 [labels, top_k], the likeliest first
  at::Tensor log_probs;           // float32 [labels, top_k], over the first `vocabulary` ids
  at::Tensor log_tails;           // float32 [labels, temperatures]
  at::Tensor negative_ids;        // int32 [labels, negatives]: neither repeated nor among the ids
  at::Tensor negative_log_probs;  // float32 [labels, negatives]
};

TeacherGuesses joined_guesses(const std::vector<TeacherGuesses>& parts);
/// As a batch holds them.
TeacherTokens as_tokens(const TeacherGuesses& guesses, const KdMeta& meta);
bool are_finite(const TeacherGuesses& guesses);

/// A model that reads documents. Its head multiplies in float32 whatever the model computes in: the
/// spacing of bfloat16 logits would make ties of its best guesses.
class Teacher {
 public:
  /// `meta` says how much is kept. The model must outlive it.
  Teacher(const CausalLm& model, const KdMeta& meta);

  /// `first_document`: the number of the first of them in the cache, which negatives are drawn by.
  TeacherGuesses read(const std::vector<KdDocument>& documents, int64_t first_document) const;

 private:
  TeacherGuesses guess(const at::Tensor& logits, const std::vector<uint64_t>& places) const;
  at::Tensor draw_negatives(const at::Tensor& ids, const std::vector<uint64_t>& places) const;

  const CausalLm& model_;
  const KdMeta& meta_;
  at::Tensor head_;  // float32 [vocabulary, hidden]
};

}  // namespace isogrid
