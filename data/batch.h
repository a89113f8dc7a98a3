#pragma once
#include <cstdint>
#include <optional>
#include <vector>

namespace isogrid {

/// A label that is none: the token before it predicts nothing.
inline constexpr int64_t kNoLabel = -100;

/// What a teacher holds likely at each labelled token, in the order of Batch::label_rows.
struct TeacherTokens {
  int64_t top_k = 0;
  int64_t negatives = 0;
  std::vector<int32_t> ids;      // [labels, top_k], the likeliest first
  std::vector<float> log_probs;  // [labels, top_k], at temperature 1
  std::vector<double> temperatures;
  std::vector<float> log_tails;  // [labels, temperatures]: log of the sum of p^(1/T) of the rest
  std::vector<int32_t> negative_ids;      // [labels, negatives], drawn by chance
  std::vector<float> negative_log_probs;  // [labels, negatives]
};

/// Documents laid end to end; no padding anywhere, and attention never crosses a document's end.
/// Packing only decides which documents share a row, so a packed batch has the same form.
struct Batch {
  std::vector<int64_t> input_ids;      // [tokens]
  std::vector<int64_t> labels;         // [tokens], shifted already: what follows each token
  std::vector<int64_t> document_ends;  // [documents], cumulative token counts
  std::vector<int64_t> label_rows;     // where labels is not kNoLabel, ascending
  std::vector<uint64_t> sample_ids;    // [documents], the example's number in the data
  std::optional<TeacherTokens> teacher;
  uint64_t epoch = 0;  // draws of dropout and noise are keyed by it

  int64_t tokens() const { return static_cast<int64_t>(input_ids.size()); }
  int64_t documents() const { return static_cast<int64_t>(document_ends.size()); }
};

}  // namespace isogrid
