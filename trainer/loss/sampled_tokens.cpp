#include "trainer/loss/sampled_tokens.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "core/error.h"

namespace isogrid {

void draw_other_tokens(Rng& rng, int64_t vocabulary, std::span<const int64_t> taken,
                       std::span<int64_t> drawn) {
  std::vector<int64_t> used(taken.begin(), taken.end());
  std::sort(used.begin(), used.end());
  for (size_t n = 0; n < drawn.size();) {
    const auto id = static_cast<int64_t>(rng.uniform_double() * static_cast<double>(vocabulary));
    const auto place = std::lower_bound(used.begin(), used.end(), id);
    if (place != used.end() && *place == id) continue;
    used.insert(place, id);
    drawn[n++] = id;
  }
}

at::Tensor sampled_tokens(const Batch& batch, const KdSettings& settings, int64_t vocabulary) {
  const TeacherTokens& teacher = *batch.teacher;
  const int64_t count = settings.sampled_negatives;
  if (teacher.top_k + count > vocabulary)
    fail(ExitCode::configuration, "kd_sampled_negatives = ", count, ": with the cache's ",
         teacher.top_k, " guesses they are more than the vocabulary's ", vocabulary, " tokens");
  at::Tensor all = at::empty({static_cast<int64_t>(batch.label_rows.size()), count}, at::kLong);
  auto out = all.mutable_data_ptr<int64_t>();
  auto guesses = teacher.ids.begin();
  std::vector<int64_t> taken(static_cast<size_t>(teacher.top_k));
  size_t document = 0;
  for (const int64_t row : batch.label_rows) {
    while (batch.document_ends[document] <= row) ++document;
    const int64_t begin = document == 0 ? 0 : batch.document_ends[document - 1];
    Rng rng(settings.seed, Purpose::sampled_negatives,
            {static_cast<uint64_t>(settings.step), batch.sample_ids[document],
             static_cast<uint64_t>(row - begin)});
    std::copy_n(guesses, teacher.top_k, taken.begin());
    guesses += teacher.top_k;
    draw_other_tokens(rng, vocabulary, taken, {out, static_cast<size_t>(count)});
    out += count;
  }
  return all;
}

}  // namespace isogrid
