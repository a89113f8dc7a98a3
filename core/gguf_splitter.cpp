#include "core/gguf_splitter.h"

#include "core/error.h"

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

}  // namespace

std::span<const GgufSplitter> gguf_splitters() { return kSplitters; }

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

}  // namespace isogrid
