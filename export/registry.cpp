#include "export/registry.h"

#include <algorithm>

#include "core/error.h"
#include "models/gguf_mix.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

std::vector<std::string_view> gguf_variants() {
  std::vector<std::string_view> variants;
  for (const GgufMix& mix : gguf_mixes())
    if (grids::find_codecs(gguf_type(mix.base)) != nullptr) variants.push_back(mix.variant);
  return variants;
}

}  // namespace

std::span<const ExportFormat> export_formats() {
  static const ExportFormat table[] = {
      {"hf",
       {"", "float32", "bfloat16", "float16"},
       "a Hugging Face folder, adapters merged, in the stored types or the one named",
       write_hf},
      {"gguf", gguf_variants(), "one file for llama.cpp and all that is built on it", write_gguf,
       gguf_file_name},
      {"adapter", {""}, "the adapter alone, in PEFT's form", write_adapter},
  };
  return table;
}

std::string WantedExport::folder_name() const {
  return concat(format->name, variant.empty() ? "" : "-", variant);
}

WantedExport wanted_export(const std::string& text) {
  const size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  const std::string variant = colon == std::string::npos ? "" : text.substr(colon + 1);
  std::string known;
  for (const ExportFormat& format : export_formats()) {
    for (const std::string_view each : format.variants)
      known += concat(known.empty() ? "" : ", ", format.name, each.empty() ? "" : ":", each);
    const auto& variants = format.variants;
    if (format.name == name &&
        std::find(variants.begin(), variants.end(), variant) != variants.end())
      return {&format, variant};
  }
  fail(ExitCode::configuration, "export_formats: ", text, ": supported are ", known);
}

}  // namespace isogrid
