#pragma once
#include <cstdint>
#include <vector>

namespace isogrid {

/// A label that is none: the token before it predicts nothing.
inline constexpr int64_t kNoLabel = -100;

/// Documents laid end to end; no padding anywhere, and attention never crosses a document's end.
/// Packing only decides which documents share a row, so a packed batch has the same form.
struct Batch {
  std::vector<int64_t> input_ids;      // [tokens]
  std::vector<int64_t> labels;         // [tokens], shifted already: what follows each token
  std::vector<int64_t> document_ends;  // [documents], cumulative token counts
  std::vector<int64_t> label_rows;     // where labels is not kNoLabel, ascending
  std::vector<uint64_t> sample_ids;    // [documents], the example's number in the data
  uint64_t epoch = 0;                  // draws of dropout and noise are keyed by it

  int64_t tokens() const { return static_cast<int64_t>(input_ids.size()); }
  int64_t documents() const { return static_cast<int64_t>(document_ends.size()); }
};

}  // namespace isogrid
