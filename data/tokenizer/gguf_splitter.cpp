#include "data/tokenizer/gguf_splitter.h"

namespace isogrid {
namespace {

constexpr std::string_view kQwen2 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kQwen35 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
    "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kLlama3 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kTekken =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kGpt4o =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/// The first row of a pattern is what an export names, unless it adds BOS and the file does not.
constexpr GgufSplitter kSplitters[] = {
    {.name = "qwen2", .pattern = kQwen2, .composes = true},
    {.name = "qwen35", .pattern = kQwen35, .composes = true},
    {.name = "llama-bpe", .pattern = kLlama3, .adds_bos = true, .ignores_merges = true},
    {.name = "smaug-bpe", .pattern = kLlama3},
    {.name = "tekken", .pattern = kTekken, .adds_bos = true, .ignores_merges = true},
    {.name = "gpt-4o", .pattern = kGpt4o},
    {.name = "smollm", .pattern = {}, .single_digits = true},
    {.name = "gpt-2", .pattern = {}},
};

struct SplitterAlias {
  std::string_view name, same_as;
};
constexpr SplitterAlias kSplitterAliases[] = {
    {"deepseek-r1-qwen", "qwen2"},
    {"stablelm2", "qwen2"},
    {"llama3", "llama-bpe"},
    {"llama-v3", "llama-bpe"},
    {"dbrx", "smaug-bpe"},
    {"starcoder", "smollm"},
    {"refact", "smollm"},
    {"codeshell", "smollm"},
    {"exaone", "smollm"},
    {"phi-2", "gpt-2"},
    {"mpt", "gpt-2"},
    {"olmo", "gpt-2"},
    {"llama4", "gpt-4o"},
};

/// The pre-tokeniser's steps boiled down to what the table asks about.
struct Cuts {
  std::string pattern;
  bool single_digits = false;
  bool gpt2 = false;
  bool other = false;
};

void read_split(const SectionFields& step, Cuts& cuts) {
  const SectionFields pattern(step.at("pattern"), step.path() + ".pattern");
  const bool plain = pattern.has("Regex") && step.text("behavior") == "Isolated" &&
                     !step.flag("invert", false) && cuts.pattern.empty();
  if (plain)
    cuts.pattern = pattern.text("Regex");
  else
    cuts.other = true;
}

Cuts read_cuts(const SectionFields& file) {
  Cuts cuts;
  if (!file.has("pre_tokenizer")) return cuts;
  for (const SectionFields& step :
       read_steps(file.at("pre_tokenizer"), "pre_tokenizer", "pretokenizers")) {
    const std::string type = step.text("type");
    if (type == "Split") {
      read_split(step, cuts);
    } else if (type == "Digits") {
      cuts.single_digits = step.flag("individual_digits", false);
      cuts.other |= !cuts.single_digits;
    } else if (type == "ByteLevel") {
      cuts.gpt2 = step.flag("use_regex", true);
      cuts.other |= step.flag("add_prefix_space", true);
    } else {
      cuts.other = true;
    }
  }
  return cuts;
}

}  // namespace

const GgufSplitter* find_gguf_splitter(std::string_view name) {
  for (const SplitterAlias& alias : kSplitterAliases)
    if (alias.name == name) name = alias.same_as;
  for (const GgufSplitter& row : kSplitters)
    if (row.name == name) return &row;
  return nullptr;
}

std::string gguf_splitter_names() {
  std::string names;
  for (const GgufSplitter& row : kSplitters) names += concat(names.empty() ? "" : ", ", row.name);
  return names;
}

const GgufSplitter& gguf_splitter_of(const SectionFields& file, bool frames_text) {
  const Cuts cuts = read_cuts(file);
  const GgufSplitter* found = nullptr;
  for (const GgufSplitter& row : kSplitters) {
    const bool alike = row.pattern == cuts.pattern && row.single_digits == cuts.single_digits &&
                       row.pattern.empty() == cuts.gpt2;
    if (!alike || cuts.other) continue;
    if (found == nullptr || (found->adds_bos && !frames_text)) found = &row;
  }
  if (found == nullptr)
    file.refuse("pre_tokenizer", concat(": GGUF has no name for this way of cutting text; it has ",
                                        gguf_splitter_names()));
  return *found;
}

}  // namespace isogrid
