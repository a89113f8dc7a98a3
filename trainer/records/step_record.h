#pragma once
#include <cstdint>
#include <optional>
#include <span>

namespace isogrid {

/// One optimizer step, as the loop knows it when it is over.
struct StepRecord {
  int64_t step = 0;  // steps done, this one included: 1 is the first of the run
  int64_t total_steps = 0;
  double epoch = 0;          // passes over the data, this step included
  double loss = 0;           // mean over the label tokens
  float loss_float32 = 0;    // the same as computed; its bits are what two runs are compared by
  double grad_norm = 0;      // before clipping
  double learning_rate = 0;  // the one this step used
  int64_t tokens = 0;        // fed since the run began, in all attempts
  double tokens_per_second = 0;
  std::optional<double> share_of_roof;  // of the machine's matrix product, 0 to 1
  double seconds = 0;                   // since this process began to train
  uint64_t order_hash = 0;              // of the sample ids it was fed
  std::optional<double> loss_scale;
  bool skipped = false;  // nothing was updated
};

/// One evaluation, after `step` steps.
struct EvalRecord {
  int64_t step = 0;
  int64_t total_steps = 0;
  double epoch = 0;
  double loss = 0;        // of the labels; in a distillation, the divergence from the teacher
  double perplexity = 0;  // of the labels
  std::optional<double> label_loss = {};  // in a distillation
  std::optional<double> agreement = {};   // with the teacher's likeliest token, 0 to 1
  int64_t tokens = 0;                     // label tokens measured
  double eval_seconds = 0;                // what the evaluation took
  double seconds = 0;                     // since this process began to train
};

/// What StepRecord::order_hash is made of the example numbers of a step, in order.
uint64_t order_hash(std::span<const uint64_t> sample_ids);

}  // namespace isogrid
