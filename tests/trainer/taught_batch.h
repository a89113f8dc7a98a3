#pragma once
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/topk.h>

#include <limits>
#include <vector>

#include "data/batch.h"

namespace isogrid::test {

/// A batch of documents of these many labels each, all tokens of which but the last have one.
inline Batch labelled_batch(const std::vector<int64_t>& labels) {
  Batch batch;
  for (const int64_t count : labels) {
    for (int64_t i = 0; i <= count; ++i) {
      if (i < count) batch.label_rows.push_back(batch.tokens());
      batch.input_ids.push_back(i);
      batch.labels.push_back(i < count ? i : kNoLabel);
    }
    batch.document_ends.push_back(batch.tokens());
    batch.sample_ids.push_back(batch.sample_ids.size());
  }
  return batch;
}

template <typename T>
void append_values(const at::Tensor& values, std::vector<T>& to) {
  const at::Tensor flat = values.to(c10::CppTypeToScalarType<T>::value).contiguous().reshape({-1});
  to.insert(to.end(), flat.const_data_ptr<T>(), flat.const_data_ptr<T>() + flat.numel());
}

/// What a teacher of these logits [n, vocabulary] has in a cache; negatives follow the guesses in
/// the order of the vocabulary.
inline TeacherTokens teacher_of(const at::Tensor& logits, int64_t top_k, int64_t negatives,
                                const std::vector<double>& temperatures) {
  TeacherTokens teacher;
  teacher.top_k = top_k;
  teacher.negatives = negatives;
  teacher.temperatures = temperatures;
  const at::Tensor log_probs = at::log_softmax(logits, 1);
  const auto [values, ids] = at::topk(log_probs, top_k, 1);
  append_values(ids, teacher.ids);
  append_values(values, teacher.log_probs);
  at::Tensor rest = log_probs.clone();
  rest.scatter_(1, ids, -std::numeric_limits<double>::infinity());
  std::vector<at::Tensor> tails;
  for (const double t : temperatures)
    tails.push_back(at::logsumexp(rest / t, {1}).clamp_min(-10000));
  if (!tails.empty()) append_values(at::stack(tails, 1), teacher.log_tails);
  const auto [others, other_ids] = at::topk(rest, negatives, 1);
  append_values(other_ids, teacher.negative_ids);
  append_values(others, teacher.negative_log_probs);
  return teacher;
}

}  // namespace isogrid::test
