#include "trainer/teacher_guesses.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "core/error.h"
#include "core/rng.h"
#include "models/score.h"
#include "trainer/loss/sampled_tokens.h"

namespace isogrid {
namespace {

at::Tensor long_tensor(const std::vector<int64_t>& numbers) {
  return at::tensor(numbers, at::TensorOptions().dtype(at::kLong));
}

/// Documents laid end to end, and where their labelled tokens are.
struct Reading {
  std::vector<int64_t> input_ids, ends, rows;
  std::vector<uint64_t> places;  // document number and position of each labelled token
};

Reading lay_end_to_end(const std::vector<KdDocument>& documents, int64_t first_document) {
  Reading reading;
  for (size_t d = 0; d < documents.size(); ++d) {
    const KdDocument words = documents[d];
    for (size_t i = 0; i < words.size(); ++i) {
      if (i + 1 < words.size() && TokenWord::has_label(words[i + 1])) {
        reading.rows.push_back(static_cast<int64_t>(reading.input_ids.size()));
        reading.places.push_back((static_cast<uint64_t>(first_document) + d) << 24 ^ i);
      }
      reading.input_ids.push_back(TokenWord::id(words[i]));
    }
    reading.ends.push_back(static_cast<int64_t>(reading.input_ids.size()));
  }
  return reading;
}

/// log of the sum of p^(1/T) over what is left of `rest`, whose entries are log-probabilities.
at::Tensor log_tails_of(const at::Tensor& rest, const std::vector<double>& temperatures) {
  std::vector<at::Tensor> columns;
  for (const double temperature : temperatures)
    columns.push_back(at::logsumexp(temperature == 1 ? rest : rest / temperature, {1}));
  return at::stack(columns, 1).clamp_min(kKdNoTail);
}

}  // namespace

TeacherGuesses joined_guesses(const std::vector<TeacherGuesses>& parts) {
  const auto column = [&](at::Tensor TeacherGuesses::*member) {
    std::vector<at::Tensor> tensors;
    for (const TeacherGuesses& part : parts)
      if ((part.*member).defined()) tensors.push_back(part.*member);
    return tensors.empty() ? at::Tensor() : at::cat(tensors, 0);
  };
  return {column(&TeacherGuesses::ids), column(&TeacherGuesses::log_probs),
          column(&TeacherGuesses::log_tails), column(&TeacherGuesses::negative_ids),
          column(&TeacherGuesses::negative_log_probs)};
}

TeacherTokens as_tokens(const TeacherGuesses& guesses, const KdMeta& meta) {
  const auto values = [](const at::Tensor& tensor, auto& to) {
    if (!tensor.defined()) return;
    using Value = typename std::remove_reference_t<decltype(to)>::value_type;
    const at::Tensor flat = tensor.contiguous();
    to.assign(flat.const_data_ptr<Value>(), flat.const_data_ptr<Value>() + flat.numel());
  };
  TeacherTokens tokens;
  tokens.top_k = meta.top_k;
  tokens.negatives = meta.negatives;
  tokens.temperatures = meta.temperatures;
  values(guesses.ids, tokens.ids);
  values(guesses.log_probs, tokens.log_probs);
  values(guesses.log_tails, tokens.log_tails);
  values(guesses.negative_ids, tokens.negative_ids);
  values(guesses.negative_log_probs, tokens.negative_log_probs);
  return tokens;
}

bool are_finite(const TeacherGuesses& guesses) {
  for (const at::Tensor& tensor :
       {guesses.log_probs, guesses.log_tails, guesses.negative_log_probs})
    if (tensor.defined() && !at::isfinite(tensor).all().item<bool>()) return false;
  return true;
}

Teacher::Teacher(const CausalLm& model, const KdMeta& meta) : model_(model), meta_(meta) {
  const at::NoGradGuard no_grad;
  head_ = whole_weight(*model.head, at::kFloat, model.device).slice(0, 0, meta.vocabulary);
}

at::Tensor Teacher::draw_negatives(const at::Tensor& ids,
                                   const std::vector<uint64_t>& places) const {
  const at::Tensor host = ids.to(at::kCPU).contiguous();
  const int64_t* taken = host.const_data_ptr<int64_t>();
  at::Tensor drawn = at::empty({static_cast<int64_t>(places.size()), meta_.negatives}, at::kLong);
  int64_t* out = drawn.mutable_data_ptr<int64_t>();
  for (const uint64_t place : places) {
    Rng rng(meta_.seed, Purpose::teacher_negatives, {place});
    draw_other_tokens(rng, meta_.vocabulary, {taken, static_cast<size_t>(meta_.top_k)},
                      {out, static_cast<size_t>(meta_.negatives)});
    taken += meta_.top_k;
    out += meta_.negatives;
  }
  return drawn;
}

TeacherGuesses Teacher::guess(const at::Tensor& logits, const std::vector<uint64_t>& places) const {
  TeacherGuesses guesses;
  const at::Tensor normaliser = at::logsumexp(logits, {1}, /*keepdim=*/true);
  const auto [values, ids] = at::topk(logits, meta_.top_k, 1, /*largest=*/true, /*sorted=*/true);
  guesses.ids = ids.to(at::kCPU, at::kInt);
  guesses.log_probs = (values - normaliser).to(at::kCPU);
  if (meta_.negatives > 0) {
    const at::Tensor drawn = draw_negatives(ids, places);
    guesses.negative_ids = drawn.to(at::kInt);
    guesses.negative_log_probs =
        (logits.gather(1, drawn.to(logits.device())) - normaliser).to(at::kCPU);
  }
  if (!meta_.temperatures.empty()) {
    at::Tensor rest = logits - normaliser;
    rest.scatter_(1, ids, -std::numeric_limits<double>::infinity());
    guesses.log_tails = log_tails_of(rest, meta_.temperatures).to(at::kCPU);
  }
  return guesses;
}

TeacherGuesses Teacher::read(const std::vector<KdDocument>& documents,
                             int64_t first_document) const {
  const at::NoGradGuard no_grad;
  const Reading reading = lay_end_to_end(documents, first_document);
  const TokenLayout layout = lay_out(model_.config, reading.ends, {}, model_.device);
  const at::Tensor hidden =
      at::index_select(forward_hidden(model_, long_tensor(reading.input_ids), layout), 0,
                       long_tensor(reading.rows).to(model_.device));
  const int64_t rows = hidden.size(0), size = head_rows_per_chunk(meta_.vocabulary);
  std::vector<TeacherGuesses> parts;
  for (int64_t first = 0; first < rows; first += size) {
    const int64_t last = std::min(rows, first + size);
    parts.push_back(guess(at::mm(hidden.slice(0, first, last).to(at::kFloat), head_.t()),
                          {reading.places.begin() + first, reading.places.begin() + last}));
  }
  return joined_guesses(parts);
}

}  // namespace isogrid
