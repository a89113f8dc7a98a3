#include "data/row_plan.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include "core/error.h"
#include "data/keyed_permutation.h"

namespace isogrid {
namespace {

class RowBuilder {
 public:
  void add(uint64_t example, int64_t begin, int64_t tokens) {
    plan_.pieces.push_back({.example = example,
                            .begin = static_cast<uint32_t>(begin),
                            .tokens = static_cast<uint32_t>(tokens)});
  }
  void end_row() {
    const size_t begin = plan_.row_ends.empty() ? 0 : plan_.row_ends.back();
    const auto first = plan_.pieces.begin() + static_cast<std::ptrdiff_t>(begin);
    if (std::any_of(first, plan_.pieces.end(),
                    [](const RowPiece& piece) { return piece.tokens > 1; })) {
      plan_.row_ends.push_back(plan_.pieces.size());
      return;
    }
    plan_.dropped_tokens += plan_.pieces.end() - first;
    plan_.pieces.resize(begin);
  }
  RowPlan take() { return std::move(plan_); }

 private:
  RowPlan plan_;
};

using LengthOf = std::function<int64_t(uint64_t)>;
using ExampleIterator = ExampleList::const_iterator;

/// Largest fit: again and again the longest example that the row still holds.
void pack_window(ExampleIterator first, ExampleIterator last, const LengthOf& length_of,
                 int64_t capacity, RowBuilder& rows) {
  std::map<int64_t, std::vector<uint64_t>> by_length;  // each list backwards, to take from its end
  for (auto example = last; example != first;)
    by_length[length_of(*std::prev(example))].push_back(*std::prev(example)), --example;
  while (!by_length.empty()) {
    // An example longer than a row, which no cut made, has one to itself.
    auto fits = by_length.upper_bound(std::max(capacity, by_length.begin()->first));
    for (int64_t left = capacity; fits != by_length.begin();) {
      --fits;
      const int64_t length = fits->first;
      rows.add(fits->second.back(), 0, length);
      fits->second.pop_back();
      if (fits->second.empty()) by_length.erase(fits);
      left -= length;
      fits = by_length.upper_bound(left);
    }
    rows.end_row();
  }
}

/// End to end, a new row every `capacity` tokens; the rest of the window is a shorter one.
void cut_window(ExampleIterator first, ExampleIterator last, const LengthOf& length_of,
                int64_t capacity, RowBuilder& rows) {
  int64_t left = capacity;
  for (auto example = first; example != last; ++example) {
    const int64_t length = length_of(*example);
    for (int64_t begin = 0; begin < length;) {
      const int64_t tokens = std::min(left, length - begin);
      rows.add(*example, begin, tokens);
      begin += tokens;
      left -= tokens;
      if (left > 0) continue;
      rows.end_row();
      left = capacity;
    }
  }
  if (left < capacity) rows.end_row();
}

/// Where each dataset stands while they are drawn from.
class Mixer {
 public:
  Mixer(const std::vector<ExampleList>& lists, const std::string& strategy)
      : lists_(lists), strategy_(strategy), next_(lists.size(), 0), used_up_(lists.size(), false) {}

  bool done() const {
    const auto is_true = [](bool value) { return value; };
    return strategy_ == "interleave_under" ? std::any_of(used_up_.begin(), used_up_.end(), is_true)
                                           : std::all_of(used_up_.begin(), used_up_.end(), is_true);
  }

  void draw(size_t dataset) {
    if (strategy_ == "interleave_once" && used_up_[dataset]) return;
    mixed_.push_back(lists_[dataset][next_[dataset]]);
    if (++next_[dataset] < lists_[dataset].size()) return;
    used_up_[dataset] = true;
    next_[dataset] = 0;
  }

  ExampleList take() { return std::move(mixed_); }

 private:
  const std::vector<ExampleList>& lists_;
  const std::string& strategy_;
  std::vector<size_t> next_;
  std::vector<bool> used_up_;
  ExampleList mixed_;
};

void check_chances(const std::vector<ExampleList>& lists, const MixOptions& options) {
  const std::vector<double>& chances = options.chances;
  if (chances.size() != lists.size())
    fail(ExitCode::configuration, "interleave_probs: came ", chances.size(), " chances for ",
         lists.size(), " datasets");
  double sum = 0;
  for (const double chance : chances) {
    sum += chance;
    if (chance == 0 && options.strategy != "interleave_under")
      fail(ExitCode::configuration, "interleave_probs: a dataset of chance 0 is never used up, ",
           "which mix_strategy: ", options.strategy, " waits for");
  }
  if (sum < 1 - 1e-6 || sum > 1 + 1e-6)
    fail(ExitCode::configuration, "interleave_probs: the chances add up to ", sum,
         "; they have to add up to 1");
}

size_t chosen_dataset(const std::vector<double>& chances, double draw) {
  size_t last = 0;
  for (size_t i = 0; i < chances.size(); ++i) {
    if (chances[i] == 0) continue;
    last = i;
    if (draw < chances[i]) return i;
    draw -= chances[i];
  }
  return last;
}

/// Without chances the datasets take turns: whole rounds, until the shortest is at its end, or the
/// longest.
ExampleList in_turns(const std::vector<ExampleList>& lists, const std::string& strategy) {
  const auto by_size = [](const ExampleList& a, const ExampleList& b) {
    return a.size() < b.size();
  };
  const auto [shortest, longest] = std::minmax_element(lists.begin(), lists.end(), by_size);
  const size_t rounds = strategy == "interleave_under" ? shortest->size() : longest->size();
  ExampleList mixed;
  for (size_t round = 0; round < rounds; ++round)
    for (const ExampleList& list : lists)
      if (round < list.size() || strategy != "interleave_once")
        mixed.push_back(list[round % list.size()]);
  return mixed;
}

}  // namespace

ExampleList mix_examples(const std::vector<ExampleList>& lists, const MixOptions& options) {
  if (options.strategy == "concat") {
    ExampleList all;
    for (const ExampleList& list : lists) all.insert(all.end(), list.begin(), list.end());
    return all;
  }
  for (size_t i = 0; i < lists.size(); ++i)
    if (lists[i].empty())
      fail(ExitCode::refused_input, "dataset number ", i + 1,
           " has no examples, so it cannot be mixed with others by turns");
  if (lists.empty()) return {};
  if (options.chances.empty()) return in_turns(lists, options.strategy);
  check_chances(lists, options);
  Mixer mixer(lists, options.strategy);
  Rng random(options.seed, Purpose::dataset_mix);
  while (!mixer.done()) mixer.draw(chosen_dataset(options.chances, random.uniform_double()));
  return mixer.take();
}

ExampleList draw_examples(const ExampleList& examples, int64_t count, uint64_t seed) {
  ExampleList drawn;
  if (examples.empty()) return drawn;
  Rng random(seed, Purpose::resampling);
  const KeyedPermutation shuffle(examples.size(), random.key());
  for (uint64_t i = 0; i < static_cast<uint64_t>(count); ++i) {
    const uint64_t at =
        i < examples.size()
            ? shuffle(i)
            : static_cast<uint64_t>(random.uniform_double() * static_cast<double>(examples.size()));
    drawn.push_back(examples[at]);
  }
  return drawn;
}

HeldOut hold_out(const ExampleList& examples, double size, uint64_t seed) {
  ExampleList distinct = examples;
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  const double wanted = size < 1 ? std::ceil(size * static_cast<double>(distinct.size())) : size;
  if (wanted >= static_cast<double>(distinct.size()))
    fail(ExitCode::configuration, "val_size: ", size, " holds out all of ", distinct.size(),
         " examples; nothing would be left to train on");
  const KeyedPermutation shuffle(distinct.size(), Rng(seed, Purpose::held_out_rows).key());
  HeldOut split;
  for (uint64_t i = 0; i < static_cast<uint64_t>(wanted); ++i)
    split.held_out.push_back(distinct[shuffle(i)]);
  std::sort(split.held_out.begin(), split.held_out.end());
  for (const uint64_t example : examples)
    if (!std::binary_search(split.held_out.begin(), split.held_out.end(), example))
      split.train.push_back(example);
  return split;
}

RowPlan plan_rows(const ExampleList& examples, const LengthOf& length_of,
                  const PackOptions& options) {
  RowBuilder rows;
  if (!options.packed) {
    for (const uint64_t example : examples) {
      rows.add(example, 0, length_of(example));
      rows.end_row();
    }
    return rows.take();
  }
  for (auto first = examples.begin(); first != examples.end();) {
    const auto last = first + std::min<int64_t>(options.window, examples.end() - first);
    (options.cut_texts ? cut_window : pack_window)(first, last, length_of, options.cutoff_len,
                                                   rows);
    first = last;
  }
  return rows.take();
}

}  // namespace isogrid
