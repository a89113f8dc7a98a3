#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "data/batch.h"

namespace isogrid {

class RowStore;

/// How rows become steps. All of it is settled before the first step and kept in the checkpoint.
struct BatchPlan {
  int64_t rows_per_micro_batch = 1;
  int64_t micro_batches_per_step = 1;  // of one process
  int64_t rank = 0, ranks = 1;
  uint64_t seed = 42;
  bool shuffled = true;
  bool drop_last = false;        // leave out the last micro-batches that are not full
  bool group_by_length = false;  // rows of like length together
};

/// What the trainer is fed: a pure function of (plan, step, micro-batch). The only position in the
/// data is a number of rows. An epoch's last step may be short; no row is repeated to fill it.
class BatchStream {
 public:
  BatchStream(std::shared_ptr<const RowStore> rows, const BatchPlan& plan);

  int64_t rows() const;  // of one epoch
  int64_t steps_per_epoch() const;
  /// Steps are numbered from 0 over the whole run.
  int64_t epoch_of(int64_t step) const { return step / steps_per_epoch(); }
  int64_t micro_batches(int64_t step) const;  // of this process, in this step
  int64_t label_tokens(int64_t step) const;   // over all micro-batches of all processes
  int64_t tokens(int64_t step) const;         // the same for input tokens
  /// Rows consumed by all processes when `step` begins.
  int64_t rows_before(int64_t step) const;
  Batch at(int64_t step, int64_t micro_batch) const;
  /// The example numbers of a step, all processes, in order: what the log's order hash is made of.
  std::vector<uint64_t> sample_ids(int64_t step) const;

 private:
  std::vector<int64_t> rows_of(int64_t step) const;  // of all processes, in order

  std::shared_ptr<const RowStore> rows_;
  BatchPlan plan_;
};

}  // namespace isogrid
