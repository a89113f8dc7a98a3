#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/split_pattern.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {

/// What becomes of the matches of a Split.
enum class SplitBehavior : uint8_t {
  isolated,
  removed,
  contiguous,
  merged_with_previous,
  merged_with_next
};

/// Every pre-tokeniser is a few of these three.
struct PreStep {
  enum class Kind : uint8_t { prefix, replace, split };
  Kind kind = Kind::split;
  std::string text;            // prefix: put in front; replace: what comes
  std::string replaced;        // replace: what goes
  bool only_at_start = false;  // prefix: only for the piece at the start of the whole text
  std::optional<SplitPattern> pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;
};

struct Piece {
  std::string_view text;
  bool at_start;  // nothing of the whole text stands before it
};

/// Cuts `text` as the step says and hands the pieces that are not empty to `emit`, in order.
template <typename Emit>
void split_pieces(const PreStep& step, Piece piece, Emit&& emit);

/// Runs the steps one inside the other; `buffers` has one string per step.
template <typename Emit>
void pre_tokenize(const std::vector<PreStep>& steps, size_t first, Piece piece,
                  std::vector<std::string>& buffers, Emit&& emit);

/// Appends `text` with every `from` turned into `to`. Error 65 when `out` would pass `most` bytes:
/// a chain of replacements in a hostile file multiplies.
void replace_all(std::string_view text, std::string_view from, std::string_view to, size_t most,
                 std::string& out);

// ---- the loops, here because they are templates

/// Joins the stretches of a split as its behaviour says; each is told whether it is a match.
template <typename Emit>
class StretchJoiner {
 public:
  StretchJoiner(SplitBehavior behavior, Piece piece, Emit& emit)
      : behavior_(behavior), piece_(piece), emit_(emit) {}

  void add(size_t start, size_t end, bool match) {
    if (start == end) return;
    switch (behavior_) {
      case SplitBehavior::isolated:
        return put(start, end);
      case SplitBehavior::removed:
        if (!match) put(start, end);
        return;
      case SplitBehavior::contiguous:
        if (!open_ || match != open_match_) flush(start);
        break;
      case SplitBehavior::merged_with_previous:
        if (!open_ || !match || open_match_) flush(start);
        break;
      case SplitBehavior::merged_with_next:
        if (!open_ || match || !open_match_) flush(start);
        break;
    }
    open_ = true;
    open_match_ = match;
    open_end_ = end;
  }

  void finish() { flush(0); }

 private:
  void put(size_t start, size_t end) {
    emit_(Piece{piece_.text.substr(start, end - start), piece_.at_start && start == 0});
  }
  void flush(size_t next_start) {
    if (open_) put(open_start_, open_end_);
    open_ = false;
    open_start_ = next_start;
  }

  SplitBehavior behavior_;
  Piece piece_;
  Emit& emit_;
  bool open_ = false;
  bool open_match_ = false;
  size_t open_start_ = 0;
  size_t open_end_ = 0;
};

template <typename Emit>
void split_pieces(const PreStep& step, Piece piece, Emit&& emit) {
  const std::string_view text = piece.text;
  StretchJoiner<Emit> joiner(step.behavior, piece, emit);
  size_t gap = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = step.pattern->match_end(text, at);
    if (end == at) {
      at += utf8_char(text, at).bytes;
      continue;
    }
    joiner.add(gap, at, step.invert);
    joiner.add(at, end, !step.invert);
    gap = at = end;
  }
  joiner.add(gap, text.size(), step.invert);
  joiner.finish();
}

template <typename Emit>
void pre_tokenize(const std::vector<PreStep>& steps, size_t first, Piece piece,
                  std::vector<std::string>& buffers, Emit&& emit) {
  if (first == steps.size()) return emit(piece.text);
  const PreStep& step = steps[first];
  std::string& buffer = buffers[first];
  const auto next = [&](Piece part) { pre_tokenize(steps, first + 1, part, buffers, emit); };
  switch (step.kind) {
    case PreStep::Kind::prefix:
      if (piece.text.starts_with(step.text) || (step.only_at_start && !piece.at_start))
        return next(piece);
      buffer.assign(step.text).append(piece.text);
      return next({buffer, piece.at_start});
    case PreStep::Kind::replace:
      buffer.clear();
      replace_all(piece.text, step.replaced, step.text, SIZE_MAX, buffer);
      return next({buffer, piece.at_start});
    case PreStep::Kind::split:
      return split_pieces(step, piece, next);
  }
}

}  // namespace isogrid
