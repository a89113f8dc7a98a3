#include <array>

#include "data/tokenizer/limits.h"
#include "data/tokenizer/tokenizer_json.h"

namespace isogrid {
namespace {

constexpr std::string_view kGpt2Pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

PreStep prefix_step(std::string text, bool only_at_start) {
  return {.kind = PreStep::Kind::prefix,
          .text = std::move(text),
          .replaced = {},
          .only_at_start = only_at_start,
          .pattern = {}};
}

PreStep split_step(SplitPattern pattern, SplitBehavior behavior, bool invert = false) {
  return {.kind = PreStep::Kind::split,
          .text = {},
          .replaced = {},
          .pattern = std::move(pattern),
          .behavior = behavior,
          .invert = invert};
}

SplitPattern known_pattern(const SectionFields& step, std::string_view regex) {
  std::string unknown;
  std::optional<SplitPattern> pattern = SplitPattern::from_regex(regex, unknown);
  if (!pattern)
    step.refuse("pattern", concat(": the part '", unknown, "' of the regular expression '", regex,
                                  "' is not one of the known ones (docs/decisions.md); report the "
                                  "model to have it added"));
  return *pattern;
}

// {"String": "..."} or {"Regex": "..."}; the text comes back, and which of the two it is.
std::pair<std::string, bool> read_pattern(const SectionFields& step) {
  const SectionFields pattern(step.at("pattern"), step.path() + ".pattern");
  const bool regex = pattern.has("Regex");
  std::string text = pattern.text(regex ? "Regex" : "String");
  if (text.empty()) step.refuse("pattern", " is empty");
  if (text.size() > kTokenizerPieceBytes)
    step.refuse("pattern", concat(" has ", text.size(), " bytes; at most ", kTokenizerPieceBytes,
                                  " are allowed"));
  return {std::move(text), regex};
}

void add_split(const SectionFields& step, TokenizerParts& parts) {
  constexpr std::array<std::string_view, 5> kNames = {"Isolated", "Removed", "Contiguous",
                                                      "MergedWithPrevious", "MergedWithNext"};
  const std::string behavior = step.text("behavior");
  size_t kind = 0;
  while (kind < kNames.size() && kNames[kind] != behavior) ++kind;
  if (kind == kNames.size())
    step.refuse("behavior", concat(" is '", behavior,
                                   "'; Isolated, Removed, Contiguous, "
                                   "MergedWithPrevious and MergedWithNext are supported"));
  const auto [text, regex] = read_pattern(step);
  parts.pre_tokenizer.push_back(
      split_step(regex ? known_pattern(step, text) : SplitPattern::from_literal(text),
                 static_cast<SplitBehavior>(kind), step.flag("invert", false)));
}

void add_digits(const SectionFields& step, TokenizerParts& parts) {
  const Matcher digit{.kind = MatcherKind::run,
                      .prefix = {},
                      .body = {.classes = kDigit},
                      .most = 1,
                      .tail = {},
                      .literal = {}};
  const bool individual = step.flag("individual_digits", false);
  parts.pre_tokenizer.push_back(
      split_step(SplitPattern::from_matcher(digit),
                 individual ? SplitBehavior::isolated : SplitBehavior::contiguous));
}

std::string read_replacement(const SectionFields& step) {
  std::string text = step.text("replacement");
  if (text.empty() || utf8_char(text, 0).bytes != text.size())
    step.refuse("replacement", concat(" is '", text, "'; one character is needed"));
  return text;
}

std::string read_scheme(const SectionFields& step) {
  const std::string scheme = step.text("prepend_scheme", "always");
  if (scheme != "always" && scheme != "first" && scheme != "never")
    step.refuse("prepend_scheme", concat(" is '", scheme, "'; always, first or never is needed"));
  if (!step.flag("add_prefix_space", true)) {
    if (scheme != "never" && step.has("prepend_scheme"))
      step.refuse("add_prefix_space", " is false, which prepend_scheme contradicts");
    return "never";
  }
  return scheme;
}

void add_metaspace(const SectionFields& step, TokenizerParts& parts) {
  const std::string mark = read_replacement(step);
  const std::string scheme = read_scheme(step);
  parts.pre_tokenizer.push_back(
      {.kind = PreStep::Kind::replace, .text = mark, .replaced = " ", .pattern = {}});
  if (scheme != "never") parts.pre_tokenizer.push_back(prefix_step(mark, scheme == "first"));
  if (step.flag("split", true))
    parts.pre_tokenizer.push_back(
        split_step(SplitPattern::from_literal(mark), SplitBehavior::merged_with_next));
}

void add_byte_level(const SectionFields& step, TokenizerParts& parts) {
  if (step.flag("add_prefix_space", true)) parts.pre_tokenizer.push_back(prefix_step(" ", false));
  if (step.flag("use_regex", true))
    parts.pre_tokenizer.push_back(
        split_step(known_pattern(step, kGpt2Pattern), SplitBehavior::isolated));
}

// What is put into text for every match: short, or a small file makes huge texts.
std::string read_affix(const SectionFields& step, std::string_view key) {
  std::string text = step.text(key);
  if (text.size() > kTokenizerAffixBytes)
    step.refuse(key, concat(" has ", text.size(), " bytes; at most ", kTokenizerAffixBytes,
                            " are allowed"));
  return text;
}

void add_normal_step(const SectionFields& step, TokenizerParts& parts) {
  const std::string type = step.text("type");
  if (type == "NFC") {
    parts.normalizer.push_back({NormalStep::Kind::nfc, {}, {}});
  } else if (type == "NFD") {
    parts.normalizer.push_back({NormalStep::Kind::nfd, {}, {}});
  } else if (type == "Prepend") {
    parts.normalizer.push_back({NormalStep::Kind::prepend, read_affix(step, "prepend"), {}});
  } else if (type == "Replace") {
    const auto [text, regex] = read_pattern(step);
    if (regex)
      step.refuse("pattern", concat(": the regular expression '", text,
                                    "' is not supported, only {\"String\": ...} is"));
    parts.normalizer.push_back({NormalStep::Kind::replace, read_affix(step, "content"), text});
  } else {
    step.refuse("type",
                concat(" is '", type, "'; NFC, NFD, Prepend, Replace and Sequence are supported"));
  }
}

}  // namespace

void read_normalizer(JsonReader section, TokenizerParts& parts) {
  for (const SectionFields& step : read_steps(section, "normalizer", "normalizers"))
    add_normal_step(step, parts);
}

bool read_pre_tokenizer(JsonReader section, TokenizerParts& parts) {
  bool bytes = false;
  for (const SectionFields& step : read_steps(section, "pre_tokenizer", "pretokenizers")) {
    const std::string type = step.text("type");
    if (bytes)
      step.refuse("type", concat(" is '", type, "' behind a ByteLevel, which must be the last"));
    if (type == "Split") {
      add_split(step, parts);
    } else if (type == "Digits") {
      add_digits(step, parts);
    } else if (type == "Metaspace") {
      add_metaspace(step, parts);
    } else if (type == "ByteLevel") {
      add_byte_level(step, parts);
      bytes = true;
    } else {
      step.refuse("type", concat(" is '", type,
                                 "'; Split, Digits, Metaspace, ByteLevel and "
                                 "Sequence are supported"));
    }
  }
  return bytes;
}

}  // namespace isogrid
