#include "models/score.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>

#include "core/error.h"
#include "models/cross_entropy.h"

namespace isogrid {
namespace {

/// Short windows share a pass until it has this many tokens, so that the products stay large.
constexpr int64_t kTokensPerPass = 2048;

at::Tensor tensor_of(const std::vector<int64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

/// The sum of -log p over the scored tokens of some windows, laid end to end.
double loss_of_spans(const CausalLm& model, const std::vector<int32_t>& ids,
                     const ScoredSpan* first, const ScoredSpan* last) {
  std::vector<int64_t> input, ends, rows, labels;
  for (const ScoredSpan* span = first; span != last; ++span) {
    const int64_t offset = static_cast<int64_t>(input.size());
    input.insert(input.end(), ids.begin() + span->begin, ids.begin() + span->end);
    ends.push_back(static_cast<int64_t>(input.size()));
    for (int64_t token = span->first_scored; token < span->end; ++token) {
      rows.push_back(offset + token - span->begin - 1);  // the row before predicts it
      labels.push_back(ids[token]);
    }
  }
  const TokenLayout layout = lay_out(model.config, ends, {}, model.device);
  const at::Tensor hidden = forward_hidden(model, tensor_of(input), layout);
  const at::Tensor scored = at::index_select(hidden, 0, tensor_of(rows).to(model.device));
  return label_losses(model, scored, tensor_of(labels)).to(at::kDouble).sum().item<double>();
}

}  // namespace

int64_t head_rows_per_chunk(int64_t vocabulary) {
  return std::max<int64_t>(128, (int64_t{16} << 20) / std::max<int64_t>(1, vocabulary));
}

at::Tensor label_losses(const CausalLm& model, const at::Tensor& hidden, const at::Tensor& labels) {
  const at::NoGradGuard no_grad;
  const int64_t rows = hidden.size(0), chunk = head_rows_per_chunk(model.config.vocabulary);
  std::vector<at::Tensor> losses;
  const at::Tensor head = whole_weight(*model.head, hidden.scalar_type(), hidden.device());
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t last = std::min(rows, first + chunk);
    losses.push_back(cross_entropy(multiply(hidden.slice(0, first, last), head),
                                   labels.slice(0, first, last).to(model.device))
                         .to(at::kFloat));
  }
  return losses.empty() ? at::empty({0}, at::kFloat) : at::cat(losses, 0);
}

std::vector<ScoredSpan> scored_spans(int64_t tokens, const ScoringWindows& windows) {
  if (windows.window < 2)
    fail(ExitCode::configuration, "eval_window = ", windows.window,
         ": a window needs at least 2 tokens, one to read and one to score");
  if (windows.stride < 1 || windows.stride > windows.window)
    fail(ExitCode::configuration, "eval_stride = ", windows.stride,
         ": allowed are 1 to eval_window, which is ", windows.window,
         " (a longer stride would leave tokens unscored)");
  std::vector<ScoredSpan> spans;
  for (int64_t i = 0; i < tokens; i += windows.stride) {
    const int64_t begin = std::max<int64_t>(0, i + windows.stride - windows.window);
    const int64_t end = std::min(tokens, i + windows.stride);
    const int64_t first = std::max(i, begin + 1);  // nothing stands before a window's first token
    if (first < end) spans.push_back({begin, end, first});
  }
  return spans;
}

TextScore score_text(const CausalLm& model, const std::vector<int32_t>& ids,
                     const ScoringWindows& windows,
                     const std::function<void(int64_t, int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  const auto spans = scored_spans(static_cast<int64_t>(ids.size()), windows);
  int64_t total = 0;
  for (const ScoredSpan& span : spans) total += span.end - span.first_scored;

  TextScore score;
  double sum = 0;
  for (size_t first = 0; first < spans.size();) {
    size_t last = first;
    int64_t tokens = 0;
    do {
      tokens += spans[last].end - spans[last].begin;
      score.tokens += spans[last].end - spans[last].first_scored;
      ++last;
    } while (last < spans.size() && tokens + spans[last].end - spans[last].begin <= kTokensPerPass);
    sum += loss_of_spans(model, ids, spans.data() + first, spans.data() + last);
    if (progress) progress(score.tokens, total);
    first = last;
  }
  score.loss = score.tokens == 0 ? 0 : sum / static_cast<double>(score.tokens);
  return score;
}

}  // namespace isogrid
