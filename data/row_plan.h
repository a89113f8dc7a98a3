#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/row_store.h"

namespace isogrid {

/// Numbers of examples through all datasets, in the order in which they are to be used.
using ExampleList = std::vector<uint64_t>;

/// How several datasets become one, after Hugging Face's interleave_datasets.
struct MixOptions {
  std::string strategy = "concat";  // interleave_under, interleave_over, interleave_once
  std::vector<double> chances;      // empty: the datasets take turns
  uint64_t seed = 42;
};
/// `lists`: the examples of each dataset. Chances that do not add up to one, or never reach a
/// dataset that has to be used up, are refused (78).
ExampleList mix_examples(const std::vector<ExampleList>& lists, const MixOptions& options);

/// `count` examples drawn by chance: without repeats as far as they go, then with.
ExampleList draw_examples(const ExampleList& examples, int64_t count, uint64_t seed);

/// Distinct examples held out by chance, and what is left; both in their old order.
struct HeldOut {
  ExampleList train, held_out;
};
/// `size`: a share below one, of which the ceiling counts, or a count. It must leave rows (78).
HeldOut hold_out(const ExampleList& examples, double size, uint64_t seed);

/// How examples become rows.
struct PackOptions {
  bool packed = false;
  bool cut_texts = false;  // lay texts end to end and cut them every cutoff_len tokens
  int64_t cutoff_len = 2048;
  int64_t window = 1000;  // examples that may share rows
};
struct RowPlan {
  std::vector<RowPiece> pieces;
  std::vector<uint64_t> row_ends;
  int64_t dropped_tokens = 0;  // of rows in which every document is a single token
  int64_t rows() const { return static_cast<int64_t>(row_ends.size()); }
};
/// Every token of every example stands in exactly one row, but for rows that predict nothing.
/// Packed: in each window the largest
/// example that still fits goes next into the row; equal ones in their order.
RowPlan plan_rows(const ExampleList& examples, const std::function<int64_t(uint64_t)>& length_of,
                  const PackOptions& options);

}  // namespace isogrid
