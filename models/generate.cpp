#include "models/generate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "core/error.h"

namespace isogrid {
namespace {

/// Sequences that take a step together; also the most rows the decoding product is made for.
constexpr size_t kSequencesPerStep = 32;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Answer {
  int64_t prompt;
  std::vector<int32_t> history;  // prompt and answer so far
  int64_t longest;               // of history
  Rng rng;
  bool done = false;
};

at::Tensor ids_tensor(const int32_t* first, const int32_t* last) {
  at::Tensor ids = at::empty({last - first}, at::kLong);
  std::copy(first, last, ids.mutable_data_ptr<int64_t>());
  return ids;
}

int64_t longest_history(const GenerationRequest& request, int64_t prompt_length) {
  int64_t longest =
      request.max_new_tokens > 0 ? prompt_length + request.max_new_tokens : request.max_length;
  if (request.max_length > 0) longest = std::min(longest, request.max_length);
  return longest;
}

class Generator {
 public:
  Generator(const CausalLm& model, const GenerationRequest& request, KvCache& cache)
      : model_(model), request_(request), cache_(cache) {}

  GenerationResult run() {
    start_answers();
    for (Answer& answer : answers_) read_prompt(answer);
    const auto start = std::chrono::steady_clock::now();
    for (;;) {
      std::vector<Answer*> open;
      for (Answer& answer : answers_)
        if (!answer.done) open.push_back(&answer);
      if (open.empty()) break;
      for (size_t first = 0; first < open.size(); first += kSequencesPerStep)
        take_step({open.begin() + first,
                   open.begin() + std::min(open.size(), first + kSequencesPerStep)});
    }
    result_.decode_seconds = seconds_since(start);
    return std::move(result_);
  }

 private:
  void start_answers() {
    for (size_t prompt = 0; prompt < request_.prompts.size(); ++prompt) {
      const auto& ids = request_.prompts[prompt];
      if (ids.empty())
        fail(ExitCode::usage, "prompt ", prompt + 1, " is empty: a model needs at least one token");
      const auto length = static_cast<int64_t>(ids.size());
      const uint64_t stream = request_.streams.empty() ? prompt : request_.streams[prompt];
      answers_.push_back({static_cast<int64_t>(prompt), ids, longest_history(request_, length),
                          Rng(request_.seed, Purpose::sampling, {stream})});
      answers_.back().done = length >= answers_.back().longest;
    }
    result_.ids.resize(answers_.size());
  }

  void read_prompt(Answer& answer) {
    if (answer.done) return;
    const auto start = std::chrono::steady_clock::now();
    const int64_t known = cache_.length(answer.prompt);
    const auto length = static_cast<int64_t>(answer.history.size());
    const TokenLayout layout = lay_out(model_.config, {length - known}, {known}, model_.device);
    const at::Tensor hidden = forward_hidden(
        model_, ids_tensor(answer.history.data() + known, answer.history.data() + length), layout,
        {&cache_, {answer.prompt}});
    const at::Tensor last = hidden.slice(0, length - known - 1);
    take_token(answer, head_logits(model_, last).to(at::kCPU, at::kFloat)[0]);
    result_.prefill_seconds += seconds_since(start);
  }

  void take_step(const std::vector<Answer*>& answers) {
    std::vector<int64_t> ends, sequences;
    std::vector<int32_t> ids;
    for (const Answer* answer : answers) {
      ids.push_back(answer->history.back());
      ends.push_back(static_cast<int64_t>(ids.size()));
      sequences.push_back(answer->prompt);
    }
    const TokenLayout layout =
        lay_out(model_.config, ends, cache_.lengths(sequences), model_.device);
    const at::Tensor hidden = forward_hidden(
        model_, ids_tensor(ids.data(), ids.data() + ids.size()), layout, {&cache_, sequences});
    const at::Tensor logits = head_logits(model_, hidden).to(at::kCPU, at::kFloat);
    for (size_t i = 0; i < answers.size(); ++i)
      take_token(*answers[i], logits[static_cast<int64_t>(i)]);
    result_.decoded_tokens += static_cast<int64_t>(answers.size());
  }

  void take_token(Answer& answer, const at::Tensor& logits) {
    const at::Tensor row = logits.contiguous();
    const int32_t id = sample({row.mutable_data_ptr<float>(), static_cast<size_t>(row.numel())},
                              request_.sampling, answer.history, answer.rng);
    answer.history.push_back(id);
    result_.ids[answer.prompt].push_back(id);
    const bool wanted = !request_.on_token || request_.on_token(answer.prompt, id);
    const auto& stops = request_.stop_ids;
    answer.done = !wanted || std::find(stops.begin(), stops.end(), id) != stops.end() ||
                  static_cast<int64_t>(answer.history.size()) >= answer.longest;
  }

  const CausalLm& model_;
  const GenerationRequest& request_;
  KvCache& cache_;
  std::vector<Answer> answers_;
  GenerationResult result_;
};

}  // namespace

GenerationResult generate(const CausalLm& model, const GenerationRequest& request, KvCache* cache) {
  const at::NoGradGuard no_grad;
  if (request.max_new_tokens <= 0 && request.max_length <= 0)
    fail(ExitCode::configuration,
         "max_new_tokens and max_length are both unset: one must bound "
         "the answer");
  std::optional<KvCache> own;
  if (cache == nullptr)
    cache = &own.emplace(model.config, static_cast<int64_t>(request.prompts.size()), model.compute,
                         model.device);
  return Generator(model, request, *cache).run();
}

}  // namespace isogrid
