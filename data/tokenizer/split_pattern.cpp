#include "data/tokenizer/split_pattern.h"

#include <bit>
#include <span>

#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

constexpr CharSet kLetters{.classes = kLetter};
constexpr CharSet kLettersAndMarks{.classes = kLetter | kMark};
constexpr CharSet kNumbers{.classes = kNumber};
constexpr CharSet kSpaces{.classes = kSpace};
constexpr CharSet kNotWordNorNewline{
    .classes = kLetter | kNumber, .negated = true, .no_newlines = true};
constexpr CharSet kSymbols{.classes = kSpace | kLetter | kNumber, .negated = true};
constexpr CharSet kSymbolsNoMarks{.classes = kSpace | kLetter | kMark | kNumber, .negated = true};
constexpr CharSet kPlainSpace{.classes = 0};  // as a prefix: the character ' '

struct KnownPart {
  std::string_view regex;
  MatcherKind kind;
  std::optional<CharSet> prefix = {};
  CharSet body = {};
  uint32_t most = UINT32_MAX;
  std::string_view tail = {};
  bool with_contraction = false;
};

constexpr KnownPart kKnownParts[] = {
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)", MatcherKind::contraction},
    {"'(?i:[sdmt]|ll|ve|re)", MatcherKind::contraction},
    {"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+", MatcherKind::run, kNotWordNorNewline, kLetters},
    {"[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+", MatcherKind::run, kNotWordNorNewline, kLetters},
    {"[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+", MatcherKind::run, kNotWordNorNewline,
     kLettersAndMarks},
    {" ?\\p{L}+", MatcherKind::run, kPlainSpace, kLetters},
    {"\\p{L}+", MatcherKind::run, {}, kLetters},
    {" ?\\p{N}+", MatcherKind::run, kPlainSpace, kNumbers},
    {"\\p{N}+", MatcherKind::run, {}, kNumbers},
    {"\\p{N}", MatcherKind::run, {}, kNumbers, 1},
    {"\\p{N}{1,2}", MatcherKind::run, {}, kNumbers, 2},
    {"\\p{N}{1,3}", MatcherKind::run, {}, kNumbers, 3},
    {" ?[^\\s\\p{L}\\p{N}]+", MatcherKind::run, kPlainSpace, kSymbols},
    {" ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*", MatcherKind::run, kPlainSpace, kSymbols, UINT32_MAX, "\r\n"},
    {" ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*", MatcherKind::run, kPlainSpace, kSymbols, UINT32_MAX,
     "\r\n"},
    {" ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*", MatcherKind::run, kPlainSpace, kSymbols, UINT32_MAX,
     "\r\n/"},
    {" ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*", MatcherKind::run, kPlainSpace, kSymbolsNoMarks,
     UINT32_MAX, "\r\n"},
    {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+",
     MatcherKind::cased_word, kNotWordNorNewline},
    {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*",
     MatcherKind::capitals_word, kNotWordNorNewline},
    {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
     MatcherKind::cased_word,
     kNotWordNorNewline,
     {},
     UINT32_MAX,
     {},
     true},
    {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
     MatcherKind::capitals_word,
     kNotWordNorNewline,
     {},
     UINT32_MAX,
     {},
     true},
    {"\\s*[\\r\\n]+", MatcherKind::through_newline},
    {"\\s+(?!\\S)", MatcherKind::spaces_before_space},
    {"\\s+", MatcherKind::run, {}, kSpaces},
};

// The letters, digits and spaces that begin a part standing for itself in a pattern.
bool is_plain_literal(std::string_view part) {
  return !part.empty() && part.find_first_of("\\[](){}?*+.^$|") == std::string_view::npos;
}

bool in_set(const CharSet& set, uint8_t bits, char32_t code) {
  if (set.classes == 0) return code == ' ';
  if (set.no_newlines && (code == '\n' || code == '\r')) return false;
  return ((bits & set.classes) != 0) != set.negated;
}

CharSet with_ascii(CharSet set) {
  for (char32_t code = 0; code < 128; ++code)
    if (in_set(set, ClassTable::get()[code], code))
      set.ascii[code >> 6] |= uint64_t{1} << (code & 63);
  return set;
}

bool has_ascii(const CharSet& set, unsigned char c) { return set.ascii[c >> 6] >> (c & 63) & 1; }

const CharSet& capitals() {
  static const CharSet set = with_ascii({.classes = kUpper | kOtherLetter | kMark});
  return set;
}
const CharSet& smalls() {
  static const CharSet set = with_ascii({.classes = kLower | kOtherLetter | kMark});
  return set;
}
const CharSet& spaces() {
  static const CharSet set = with_ascii(kSpaces);
  return set;
}

// The end of the character at `at` when it is of the set, else `at`.
size_t take_one(const CharSet& set, std::string_view text, size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 128) return at + has_ascii(set, first);
  const Utf8Char here = utf8_char(text, at);
  return in_set(set, ClassTable::get()[here.code], here.code) ? at + here.bytes : at;
}

size_t take(const CharSet& set, std::string_view text, size_t at, uint32_t most = UINT32_MAX) {
  for (; at < text.size() && most > 0; --most) {
    const size_t end = take_one(set, text, at);
    if (end == at) break;
    at = end;
  }
  return at;
}

// 's, 't, 're, 've, 'm, 'll, 'd in either case; U+017F is an s that ignores case.
size_t contraction_end(std::string_view text, size_t at) {
  if (at + 1 >= text.size() || text[at] != '\'') return at;
  const auto lower = [&](size_t i) { return i < text.size() ? text[i] | 0x20 : 0; };
  const int first = lower(at + 1);
  const int second = lower(at + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  if ((first == 'r' || first == 'v') && second == 'e') return at + 3;
  if (first == 'l' && second == 'l') return at + 3;
  return text.substr(at + 1, 2) == "\xC5\xBF" ? at + 3 : at;
}

size_t run_end(const Matcher& matcher, std::string_view text, size_t at) {
  size_t end = at;
  if (matcher.prefix) {
    const size_t body = take_one(*matcher.prefix, text, at);
    if (body > at) end = take(matcher.body, text, body, matcher.most);
    if (end == body) end = at;
  }
  if (end == at) end = take(matcher.body, text, at, matcher.most);
  if (end == at) return at;
  while (end < text.size() && matcher.tail.find(text[end]) != std::string_view::npos) ++end;
  return end;
}

// Capitals*Smalls+ where both hold the letters without case and the marks: what the capitals took
// too much is given back up to the last character that may be small.
size_t cased_end(std::string_view text, size_t at) {
  const size_t upper = take(capitals(), text, at);
  const size_t lower = take(smalls(), text, upper);
  if (lower > upper) return lower;
  for (size_t end = upper; end > at;) {
    const size_t last = utf8_before(text, end);
    if (take_one(smalls(), text, last) > last) return end;
    end = last;
  }
  return at;
}

size_t capitals_end(std::string_view text, size_t at) {
  const size_t upper = take(capitals(), text, at);
  return upper == at ? at : take(smalls(), text, upper);
}

size_t word_end(const Matcher& matcher, std::string_view text, size_t at) {
  const auto body_end = matcher.kind == MatcherKind::cased_word ? cased_end : capitals_end;
  const size_t body = take_one(*matcher.prefix, text, at);
  size_t end = body > at ? body_end(text, body) : at;
  if (end == body) end = body_end(text, at);
  if (end == at) return at;
  return matcher.with_contraction ? contraction_end(text, end) : end;
}

size_t through_newline_end(std::string_view text, size_t at) {
  const size_t end = take(spaces(), text, at);
  const size_t newline = text.substr(at, end - at).find_last_of("\r\n");
  return newline == std::string_view::npos ? at : at + newline + 1;
}

size_t spaces_before_space_end(std::string_view text, size_t at) {
  const size_t end = take(spaces(), text, at);
  return end == text.size() || end == at ? end : utf8_before(text, end);
}

size_t matcher_end(const Matcher& matcher, std::string_view text, size_t at) {
  switch (matcher.kind) {
    case MatcherKind::literal:
      return text.substr(at).starts_with(matcher.literal) ? at + matcher.literal.size() : at;
    case MatcherKind::contraction:
      return contraction_end(text, at);
    case MatcherKind::run:
      return run_end(matcher, text, at);
    case MatcherKind::cased_word:
    case MatcherKind::capitals_word:
      return word_end(matcher, text, at);
    case MatcherKind::through_newline:
      return through_newline_end(text, at);
    case MatcherKind::spaces_before_space:
      return spaces_before_space_end(text, at);
  }
  return at;
}

bool may_start(const Matcher& matcher, char first) {
  const auto code = static_cast<char32_t>(first);
  const uint8_t bits = ClassTable::get()[code];
  const bool prefixed = matcher.prefix && in_set(*matcher.prefix, bits, code);
  switch (matcher.kind) {
    case MatcherKind::literal:
      return matcher.literal.front() == first;
    case MatcherKind::contraction:
      return first == '\'';
    case MatcherKind::run:
      return prefixed || in_set(matcher.body, bits, code);
    case MatcherKind::cased_word:
    case MatcherKind::capitals_word:
      return prefixed || (bits & (kLetter | kMark)) != 0;
    case MatcherKind::through_newline:
    case MatcherKind::spaces_before_space:
      return (bits & kSpace) != 0;
  }
  return true;
}

// The parts between the bars that stand outside brackets and parentheses.
std::vector<std::string_view> alternatives(std::string_view regex) {
  std::vector<std::string_view> parts;
  size_t start = 0;
  int depth = 0;
  for (size_t i = 0; i < regex.size(); ++i) {
    if (regex[i] == '\\') {
      ++i;
    } else if (regex[i] == '(' || regex[i] == '[') {
      ++depth;
    } else if (regex[i] == ')' || regex[i] == ']') {
      --depth;
    } else if (regex[i] == '|' && depth == 0) {
      parts.push_back(regex.substr(start, i - start));
      start = i + 1;
    }
  }
  parts.push_back(regex.substr(start));
  return parts;
}

std::optional<Matcher> known_matcher(std::string_view part) {
  for (const KnownPart& known : kKnownParts)
    if (known.regex == part)
      return Matcher{.kind = known.kind,
                     .prefix = known.prefix,
                     .body = known.body,
                     .most = known.most,
                     .tail = known.tail,
                     .literal = {},
                     .with_contraction = known.with_contraction};
  if (!is_plain_literal(part)) return std::nullopt;
  return Matcher{.kind = MatcherKind::literal,
                 .prefix = {},
                 .body = {},
                 .tail = {},
                 .literal = std::string(part)};
}

}  // namespace

SplitPattern::SplitPattern(std::vector<Matcher> matchers) : matchers_(std::move(matchers)) {
  for (Matcher& matcher : matchers_) {
    matcher.body = with_ascii(matcher.body);
    if (matcher.prefix) matcher.prefix = with_ascii(*matcher.prefix);
  }
  const auto all = static_cast<uint16_t>((1u << matchers_.size()) - 1);
  candidates_.fill(0);
  candidates_[128] = all;
  for (size_t i = 0; i < matchers_.size(); ++i)
    for (size_t byte = 0; byte < 128; ++byte)
      if (may_start(matchers_[i], static_cast<char>(byte)))
        candidates_[byte] = static_cast<uint16_t>(candidates_[byte] | 1u << i);
}

std::optional<SplitPattern> SplitPattern::from_regex(std::string_view regex, std::string& unknown) {
  std::vector<Matcher> matchers;
  for (const std::string_view part : alternatives(regex)) {
    std::optional<Matcher> matcher = known_matcher(part);
    if (!matcher || matchers.size() == 16) {
      unknown = std::string(part);
      return std::nullopt;
    }
    matchers.push_back(*std::move(matcher));
  }
  return SplitPattern(std::move(matchers));
}

SplitPattern SplitPattern::from_literal(std::string_view literal) {
  return SplitPattern({Matcher{.kind = MatcherKind::literal,
                               .prefix = {},
                               .body = {},
                               .tail = {},
                               .literal = std::string(literal)}});
}

SplitPattern SplitPattern::from_matcher(const Matcher& matcher) { return SplitPattern({matcher}); }

size_t SplitPattern::match_end(std::string_view text, size_t at) const {
  const auto first = static_cast<unsigned char>(text[at]);
  for (unsigned left = candidates_[first < 128 ? first : 128]; left; left &= left - 1) {
    const size_t end =
        matcher_end(matchers_[static_cast<size_t>(std::countr_zero(left))], text, at);
    if (end > at) return end;
  }
  return at;
}

}  // namespace isogrid
