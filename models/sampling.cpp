#include "models/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace isogrid {
namespace {

struct Candidate {
  float logit;
  int32_t id;
};

// Most likely first. Of equals the higher id first: transformers sorts upwards and cuts from the
// start, so of equals it is the lower id that falls to top_p.
bool more_likely(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id > b.id;
}

/// The k-th largest value. One pass keeps whatever beats the k-th best seen so far; the buffer is
/// cut back when it has grown to twice k, so nearly all values cost one comparison.
float kth_largest(std::span<const float> values, size_t k) {
  const size_t limit = std::max<size_t>(2 * k, 512);
  std::vector<float> best;
  best.reserve(limit);
  float threshold = -std::numeric_limits<float>::infinity();
  const auto cut = [&] {
    std::nth_element(best.begin(), best.begin() + static_cast<ptrdiff_t>(k - 1), best.end(),
                     std::greater<>());
    best.resize(k);
    threshold = best[k - 1];
  };
  for (const float value : values) {
    if (value <= threshold && best.size() >= k) continue;
    best.push_back(value);
    if (best.size() == limit) cut();
  }
  cut();
  return threshold;
}

std::vector<Candidate> keep_top_k(std::span<const float> scores, int64_t top_k) {
  std::vector<Candidate> kept;
  const bool all = top_k == 0 || top_k >= static_cast<int64_t>(scores.size());
  const float least = all ? -std::numeric_limits<float>::infinity()
                          : kth_largest(scores, static_cast<size_t>(top_k));
  kept.reserve(all ? scores.size() : static_cast<size_t>(top_k) + 16);
  for (size_t i = 0; i < scores.size(); ++i) {
    // Equals of the k-th stay, as they do in transformers.
    if (scores[i] >= least && scores[i] != -std::numeric_limits<float>::infinity()) {
      kept.push_back({scores[i], static_cast<int32_t>(i)});
    }
  }
  return kept;
}

double weight(const Candidate& candidate, float largest) {
  return std::exp(static_cast<double>(candidate.logit) - static_cast<double>(largest));
}

/// Keeps the shortest run of most likely candidates whose mass reaches top_p. Looks for its end as
/// quickselect does, by mass instead of by count: usually in the likeliest sixteenth of a
/// sixteenth, so that most candidates are moved once and never sorted.
void keep_top_p(std::vector<Candidate>& candidates, double top_p, float largest) {
  const auto mass_of = [&](size_t from, size_t to) {
    double mass = 0;
    for (size_t i = from; i < to; ++i) mass += weight(candidates[i], largest);
    return mass;
  };
  const auto at = [&](size_t i) { return candidates.begin() + static_cast<ptrdiff_t>(i); };
  const double needed = top_p * mass_of(0, candidates.size());
  size_t low = 0;  // the run ends in [low, high)
  size_t high = candidates.size();
  double before = 0;  // mass of [0, low)
  for (size_t parts = 16; high - low > 64;) {
    const size_t middle = low + (high - low) / parts;
    std::nth_element(at(low), at(middle), at(high), more_likely);
    const double mass = mass_of(low, middle);
    const bool inside = before + mass >= needed;
    (inside ? high : low) = middle;
    if (!inside) before += mass;
    parts = inside ? 16 : 2;
  }
  std::sort(at(low), at(high), more_likely);
  size_t kept = low;
  while (kept < high && (kept == 0 || before < needed)) {
    before += weight(candidates[kept++], largest);
  }
  candidates.resize(kept);
}

}  // namespace

std::vector<std::string> SamplingSettings::problems() const {
  std::vector<std::string> found;
  if (do_sample && !(temperature > 0 && std::isfinite(temperature))) {
    found.push_back(concat("temperature = ", temperature,
                           ": allowed is more than 0; do_sample: false takes the most likely "
                           "token each time"));
  }
  if (top_k < 0) found.push_back(concat("top_k = ", top_k, ": allowed are 0 (all) and more"));
  if (!(top_p >= 0 && top_p <= 1))
    found.push_back(concat("top_p = ", top_p, ": allowed is 0 to 1"));
  if (!(min_p >= 0 && min_p <= 1))
    found.push_back(concat("min_p = ", min_p, ": allowed is 0 to 1"));
  if (!(repetition_penalty > 0 && std::isfinite(repetition_penalty))) {
    found.push_back(concat("repetition_penalty = ", repetition_penalty,
                           ": allowed is more than 0; 1 changes nothing"));
  }
  return found;
}

void apply_repetition_penalty(std::span<float> logits, std::span<const int32_t> history,
                              double penalty) {
  if (penalty == 1.0) return;
  const float factor = static_cast<float>(penalty);
  std::vector<int32_t> ids(history.begin(), history.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit < 0 ? logit * factor : logit / factor;
  }
}

int32_t most_likely(std::span<const float> logits) {
  size_t best = 0;
  bool has_nan = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    has_nan |= std::isnan(logits[i]);
    if (logits[i] > logits[best]) best = i;
  }
  if (has_nan || logits.empty() || !std::isfinite(logits[best])) {
    fail(ExitCode::numeric, "the model's logits for the next token are not finite");
  }
  return static_cast<int32_t>(best);
}

std::vector<TokenProbability> sampling_distribution(std::span<const float> logits,
                                                    const SamplingSettings& settings) {
  const float top_logit = logits[static_cast<size_t>(most_likely(logits))];
  const float temperature = static_cast<float>(settings.temperature);
  std::vector<float> scaled;
  if (temperature != 1.0f) {
    scaled.reserve(logits.size());
    for (const float logit : logits) scaled.push_back(logit / temperature);
    logits = scaled;
  }
  const float largest = top_logit / temperature;
  if (!std::isfinite(largest)) {
    fail(ExitCode::numeric, "temperature = ", settings.temperature,
         ": so small that the logits overflow; do_sample: false does what is meant");
  }
  std::vector<Candidate> candidates = keep_top_k(logits, settings.top_k);
  if (settings.top_p < 1.0) keep_top_p(candidates, settings.top_p, largest);
  double mass = 0;
  std::vector<TokenProbability> kept;
  kept.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    const double share = weight(candidate, largest);
    if (share < settings.min_p) continue;  // never the most likely one: its share is 1
    kept.push_back({candidate.id, share});
    mass += share;
  }
  for (TokenProbability& token : kept) token.probability /= mass;
  return kept;
}

int32_t sample(std::span<float> logits, const SamplingSettings& settings,
               std::span<const int32_t> history, Rng& rng) {
  apply_repetition_penalty(logits, history, settings.repetition_penalty);
  if (!settings.do_sample) return most_likely(logits);
  const std::vector<TokenProbability> choices = sampling_distribution(logits, settings);
  double left = rng.uniform_double();
  for (const TokenProbability& choice : choices) {
    left -= choice.probability;
    if (left < 0) return choice.id;
  }
  return choices.back().id;
}

}  // namespace isogrid
