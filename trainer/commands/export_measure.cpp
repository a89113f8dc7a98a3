#include "trainer/commands/export_measure.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "models/rope.h"
#include "models/score.h"

extern char** environ;  // what the child is given

namespace isogrid {
namespace {

at::Tensor as_longs(const std::vector<int64_t>& numbers) {
  return at::tensor(numbers, at::TensorOptions().dtype(at::kLong));
}

/// Hidden states of the labelled tokens of all rows, [labels, hidden].
at::Tensor labelled_states(const CausalLm& model, const MeasuredRows& rows) {
  std::vector<at::Tensor> states;
  for (const Batch& row : rows.rows) {
    if (row.label_rows.empty()) continue;
    const TokenLayout layout = lay_out(model.config, row.document_ends, {}, model.device);
    const at::Tensor hidden = forward_hidden(model, as_longs(row.input_ids), layout);
    states.push_back(hidden.index_select(0, as_longs(row.label_rows).to(hidden.device())));
  }
  return at::cat(states);
}

at::Tensor labels_of(const MeasuredRows& rows) {
  std::vector<int64_t> labels;
  for (const Batch& row : rows.rows)
    for (const int64_t at : row.label_rows) labels.push_back(row.labels[static_cast<size_t>(at)]);
  return as_longs(labels);
}

at::Tensor log_probabilities(const CausalLm& model, const at::Tensor& hidden) {
  return at::log_softmax(head_logits(model, hidden).to(at::kFloat), -1);
}

double summed(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

constexpr const char* kPrompt = "The best way to learn something new is";
constexpr const char* kNewTokens = "32";

/// All that comes out of a pipe until it is closed.
std::string drained(int pipe) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = read(pipe, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(count));
  close(pipe);
  return text;
}

}  // namespace

FidelityReference::FidelityReference(const CausalLm& original, const MeasuredRows& rows)
    : original_(measured_model(original)), rows_(rows) {
  const at::NoGradGuard no_grad;
  labels_ = labels_of(rows);
  if (labels_.numel() == 0) return;
  hidden_ = labelled_states(original_, rows);
  loss_ = summed(label_losses(original_, hidden_, labels_)) / static_cast<double>(tokens());
}

Fidelity FidelityReference::of(const CausalLm& stored) const {
  const at::NoGradGuard no_grad;
  const CausalLm model = measured_model(stored);
  Fidelity sum{.tokens = tokens()};
  if (sum.tokens == 0) return sum;
  const at::Tensor hidden = labelled_states(model, rows_);
  const int64_t chunk = head_rows_per_chunk(model.config.vocabulary);
  for (int64_t first = 0; first < sum.tokens; first += chunk) {
    const int64_t count = std::min(chunk, sum.tokens - first);
    const at::Tensor wanted = log_probabilities(original_, hidden_.narrow(0, first, count));
    const at::Tensor came = log_probabilities(model, hidden.narrow(0, first, count));
    sum.loss -= summed(came.gather(1, labels_.narrow(0, first, count).unsqueeze(1)));
    sum.kl += summed(wanted.exp().mul(wanted - came));
    sum.same_top += summed(wanted.argmax(1).eq(came.argmax(1)));
  }
  const auto tokens = static_cast<double>(sum.tokens);
  return {sum.loss / tokens, sum.kl / tokens, sum.same_top / tokens, sum.tokens};
}

std::optional<GenerationFigures> measure_generation(
    const std::vector<std::string>& model_arguments) {
  std::vector<std::string> words{"trainer", "generate"};
  words.insert(words.end(), model_arguments.begin(), model_arguments.end());
  for (const char* word : {"--prompt", kPrompt, "--max_new_tokens", kNewTokens, "--do_sample",
                           "false", "--log_level", "error", "--json"})
    words.emplace_back(word);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int problem =
      posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  const std::string answer = drained(ends[0]);
  int status = 0;
  if (problem != 0 || waitpid(child, &status, 0) != child || status != 0) return std::nullopt;
  const Json json = parse_json(answer, "trainer generate");
  return GenerationFigures{.tokens_per_second = json.value("tokens_per_second", 0.0),
                           .peak_resident_bytes = json.value("peak_resident_bytes", int64_t{0})};
}

}  // namespace isogrid
