#include <chrono>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/io.h"
#include "core/json.h"
#include "data/tokenizer/tokenizer.h"
#include "models/score.h"
#include "trainer/commands/commands.h"
#include "trainer/open_model.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

constexpr uint64_t kLargestText = uint64_t{4} << 30;

void print_score(const TextScore& score, double seconds, const CommandOptions& options) {
  const double speed = seconds > 0 ? static_cast<double>(score.tokens) / seconds : 0;
  if (options.json) {
    const Json result = {{"loss", score.loss},
                         {"perplexity", std::exp(score.loss)},
                         {"tokens", score.tokens},
                         {"tokens_per_second", speed}};
    std::fputs(dump_json(result).c_str(), stdout);
    return;
  }
  std::printf(
      "loss        %.6f\nperplexity  %.4f\ntokens      %lld, each scored once\n"
      "window      %lld, moved by %lld\nspeed       %.0f tokens/s\n",
      score.loss, std::exp(score.loss), static_cast<long long>(score.tokens),
      static_cast<long long>(options.eval_window), static_cast<long long>(options.eval_stride),
      speed);
}

TextScore score_with_progress(const CausalLm& model, const std::vector<int32_t>& ids,
                              const ScoringWindows& windows) {
  ProgressLine progress("scoring", static_cast<int64_t>(ids.size()) - 1);
  return score_text(model, ids, windows, [&](int64_t done, int64_t) { progress.show(done); });
}

}  // namespace

int run_eval(const Invocation& invocation) {
  const CommandOptions& options = invocation.options;
  if (!options.text_file)
    fail(ExitCode::usage,
         "eval needs --text_file FILE: evaluating the rows of a config's dataset "
         "is not supported yet");
  const ScoringWindows windows{options.eval_window, options.eval_stride};
  scored_spans(0, windows);  // refuses a bad window before the weights are read
  const std::string text = read_text_file(*options.text_file, kLargestText);
  const std::string path = model_folder_path(invocation.config);
  const std::vector<int32_t> ids = Tokenizer::load(path).encode(text);
  if (ids.size() < 2)
    fail(ExitCode::refused_input, *options.text_file, ": has ", ids.size(),
         " tokens; a loss needs at least 2");
  const OpenedModel opened = open_model(invocation.config);

  const auto start = std::chrono::steady_clock::now();
  const TextScore score = score_with_progress(opened.model, ids, windows);
  print_score(score,
              std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
              options);
  return 0;
}

}  // namespace isogrid
