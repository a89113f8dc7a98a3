#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/unicode_classes.h"

namespace isogrid {

/// A set of characters: those of some classes or, negated, all others but \r and \n if so asked.
struct CharSet {
  uint8_t classes = 0;
  bool negated = false;
  bool no_newlines = false;
  std::array<uint64_t, 2> ascii{};  // the members below 128, filled by SplitPattern
};

/// The `|`-separated parts that pre-tokeniser patterns are made of. Each has a hand-written matcher
/// of constant stack, and all of them together read a text in linear time.
enum class MatcherKind : uint8_t {
  literal,             // text as it stands
  contraction,         // (?i:'s|'t|'re|'ve|'m|'ll|'d)
  run,                 // a prefix character or none, a run of a set, a tail of given characters
  cased_word,          // capitals* smalls+: "Hello", "hello"
  capitals_word,       // capitals+ smalls*: "HTTP"
  through_newline,     // \s*[\r\n]+
  spaces_before_space  // \s+(?!\S)
};

struct Matcher {
  MatcherKind kind = MatcherKind::literal;
  std::optional<CharSet> prefix;
  CharSet body;
  uint32_t most = UINT32_MAX;
  std::string_view tail;          // run: characters taken as often as they come
  std::string literal;            // literal: the text itself
  bool with_contraction = false;  // cased words: a contraction may follow
};

/// A Split pattern, matched at one place at a time.
class SplitPattern {
 public:
  /// nullopt when a part of the pattern is not one of the known ones; `unknown` then names it.
  static std::optional<SplitPattern> from_regex(std::string_view regex, std::string& unknown);
  static SplitPattern from_literal(std::string_view literal);
  static SplitPattern from_matcher(const Matcher& matcher);

  /// Where the match that starts at `at` ends; `at` itself when none does. at < text.size().
  size_t match_end(std::string_view text, size_t at) const;

 private:
  explicit SplitPattern(std::vector<Matcher> matchers);

  std::vector<Matcher> matchers_;
  std::array<uint16_t, 129> candidates_;  // by first byte, 128 for all others: bits of matchers_
};

}  // namespace isogrid
