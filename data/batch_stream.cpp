#include "data/batch_stream.h"

#include <algorithm>

#include "core/error.h"
#include "data/keyed_permutation.h"
#include "data/row_store.h"

namespace isogrid {
namespace {

/// As many rows as this many steps take are sorted by length together.
constexpr int64_t kStepsPerLengthGroup = 50;

/// The order of one epoch's rows.
class EpochOrder {
 public:
  EpochOrder(const RowStore& rows, const BatchPlan& plan, int64_t rows_per_step, int64_t epoch)
      : rows_(rows),
        plan_(plan),
        shuffle_(static_cast<uint64_t>(rows.rows()),
                 Rng(plan.seed, Purpose::row_order, {static_cast<uint64_t>(epoch)}).key()),
        // Few rows make small groups, so that their order stays random.
        group_(rows_per_step *
               std::clamp<int64_t>(rows.rows() / (4 * rows_per_step), 1, kStepsPerLengthGroup)) {}

  /// The rows at positions [first, last).
  std::vector<int64_t> rows(int64_t first, int64_t last) const {
    std::vector<int64_t> found;
    if (!plan_.group_by_length) {
      for (int64_t at = first; at < last; ++at) found.push_back(row_at(at));
      return found;
    }
    for (int64_t group = first / group_; group * group_ < last; ++group) {
      const std::vector<int64_t> sorted = sorted_group(group);
      const int64_t start = group * group_;
      const int64_t end = start + static_cast<int64_t>(sorted.size());
      for (int64_t at = std::max(first, start); at < std::min(last, end); ++at)
        found.push_back(sorted[static_cast<size_t>(at - start)]);
    }
    return found;
  }

 private:
  int64_t row_at(int64_t position) const {
    return plan_.shuffled ? static_cast<int64_t>(shuffle_(static_cast<uint64_t>(position)))
                          : position;
  }

  std::vector<int64_t> sorted_group(int64_t group) const {
    std::vector<int64_t> members;
    const int64_t end = std::min((group + 1) * group_, rows_.rows());
    for (int64_t at = group * group_; at < end; ++at) members.push_back(row_at(at));
    std::stable_sort(members.begin(), members.end(), [&](int64_t a, int64_t b) {
      return rows_.row_tokens(a) > rows_.row_tokens(b);
    });
    return members;
  }

  const RowStore& rows_;
  const BatchPlan& plan_;
  KeyedPermutation shuffle_;
  int64_t group_;
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t rows_of_all_ranks(const BatchPlan& plan) { return plan.rows_per_micro_batch * plan.ranks; }

int64_t rows_per_step(const BatchPlan& plan) {
  return rows_of_all_ranks(plan) * plan.micro_batches_per_step;
}

}  // namespace

BatchStream::BatchStream(std::shared_ptr<const RowStore> rows, const BatchPlan& plan)
    : rows_(std::move(rows)), plan_(plan) {
  if (plan.rows_per_micro_batch < 1 || plan.micro_batches_per_step < 1 || plan.ranks < 1 ||
      plan.rank < 0 || plan.rank >= plan.ranks)
    fail(ExitCode::internal, "a batch plan of ", plan.rows_per_micro_batch, " rows, ",
         plan.micro_batches_per_step, " micro-batches, rank ", plan.rank, " of ", plan.ranks);
  if (rows_->rows() == 0)
    fail(ExitCode::refused_input,
         "dataset: there are no rows; no record held anything to train on");
  if (this->rows() == 0)
    fail(ExitCode::configuration, "dataloader_drop_last: the data make ", rows_->rows(),
         " rows, less than one micro-batch of all processes, which takes ",
         rows_of_all_ranks(plan));
}

int64_t BatchStream::rows() const {
  const int64_t all = rows_->rows();
  return plan_.drop_last ? all - all % rows_of_all_ranks(plan_) : all;
}

int64_t BatchStream::steps_per_epoch() const { return ceil_div(rows(), rows_per_step(plan_)); }

int64_t BatchStream::rows_before(int64_t step) const {
  return epoch_of(step) * rows() + step % steps_per_epoch() * rows_per_step(plan_);
}

std::vector<int64_t> BatchStream::rows_of(int64_t step) const {
  const int64_t first = step % steps_per_epoch() * rows_per_step(plan_);
  const int64_t last = std::min(first + rows_per_step(plan_), rows());
  return EpochOrder(*rows_, plan_, rows_per_step(plan_), epoch_of(step)).rows(first, last);
}

int64_t BatchStream::micro_batches(int64_t step) const {
  const int64_t first = step % steps_per_epoch() * rows_per_step(plan_);
  const int64_t count = std::min(rows_per_step(plan_), rows() - first);
  // Of the micro-batches of all processes, dealt out in turn, every ranks-th is ours.
  const int64_t filled = ceil_div(count, plan_.rows_per_micro_batch);
  return filled > plan_.rank ? ceil_div(filled - plan_.rank, plan_.ranks) : 0;
}

int64_t BatchStream::label_tokens(int64_t step) const {
  int64_t sum = 0;
  for (const int64_t row : rows_of(step)) sum += rows_->row_label_tokens(row);
  return sum;
}

int64_t BatchStream::tokens(int64_t step) const {
  int64_t sum = 0;
  for (const int64_t row : rows_of(step)) sum += rows_->row_tokens(row);
  return sum;
}

Batch BatchStream::at(int64_t step, int64_t micro_batch) const {
  Batch batch;
  batch.epoch = static_cast<uint64_t>(epoch_of(step));
  const std::vector<int64_t> rows = rows_of(step);
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t first = (micro_batch * plan_.ranks + plan_.rank) * plan_.rows_per_micro_batch;
  const int64_t last = std::min(first + plan_.rows_per_micro_batch, count);
  for (int64_t i = first; i < last; ++i) rows_->append_row(rows[static_cast<size_t>(i)], batch);
  return batch;
}

std::vector<uint64_t> BatchStream::sample_ids(int64_t step) const {
  std::vector<uint64_t> ids;
  for (const int64_t row : rows_of(step))
    for (const RowPiece& piece : rows_->pieces(row)) ids.push_back(piece.example);
  return ids;
}

}  // namespace isogrid
