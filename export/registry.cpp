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

/// "4:g32" -> "4", and what was cut off: "g32".
std::string cut_group(std::string& variant) {
  const size_t colon = variant.rfind(':');
  if (colon == std::string::npos) return "";
  const std::string group = variant.substr(colon + 1);
  variant.resize(colon);
  return group.empty() ? "?" : group;
}

std::string group_name(int64_t size) { return size == -1 ? "rows" : concat("g", size); }

int64_t size_of_group(const ExportFormat& format, const std::string& name) {
  for (const int64_t size : format.group_sizes)
    if (group_name(size) == name) return size;
  return 0;
}

std::string group_names(const ExportFormat& format) {
  std::string names;
  for (const int64_t size : format.group_sizes)
    names += concat(names.empty() ? ":" : ", :", group_name(size));
  return names;
}

}  // namespace

std::span<const ExportFormat> export_formats() {
  static const ExportFormat table[] = {
      {"hf",
       {"", "float32", "bfloat16", "float16"},
       "a Hugging Face folder, adapters merged, in the stored types or the one named",
       write_hf},
      {"lut",
       {"fp16"},
       "look-up-table layers as a device has them: codes, tables, scales in float16, check vectors",
       write_lut},
      {"bnb",
       {"nf4", "fp4", "int8"},
       "a folder of bitsandbytes, as transformers and vLLM load it",
       write_bnb},
      {.name = "gptq",
       .variants = {"4", "8", "3", "2"},
       .summary = "GPTQ, for vLLM, SGLang, transformers and exllama",
       .write = write_gptq,
       .group_sizes = {32, 64, 128, -1},
       .is_calibrated = true},
      {.name = "awq",
       .variants = {"4"},
       .summary = "AWQ (gemm), for vLLM, SGLang and transformers",
       .write = write_awq,
       .group_sizes = {32, 64, 128},
       .is_calibrated = true},
      {.name = "ct",
       .variants = {"int4"},
       .summary = "compressed-tensors (pack-quantized), vLLM's own",
       .write = write_compressed_tensors,
       .group_sizes = {32, 64, 128},
       .is_calibrated = true},
      {.name = "torchao",
       .variants = {"int8wo", "int4wo", "int8dq"},
       .summary = "torchao, for transformers and vLLM",
       .write = write_torchao,
       .group_sizes = {32, 64, 128, 256}},
      {"gguf", gguf_variants(), "one file for llama.cpp and all that is built on it", write_gguf,
       gguf_file_name},
      {"gguf",
       {"lora"},
       "the adapter alone, for llama.cpp to lay over its base",
       write_gguf_lora,
       gguf_file_name},
      {"adapter", {""}, "the adapter alone, in PEFT's form", write_adapter},
  };
  return table;
}

std::string WantedExport::folder_name() const {
  const std::string group = group_size == 0    ? ""
                            : group_size == -1 ? "-rows"
                                               : concat("-g", group_size);
  return concat(format->name, variant.empty() ? "" : "-", variant, group);
}

WantedExport wanted_export(const std::string& text) {
  const size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  std::string variant = colon == std::string::npos ? "" : text.substr(colon + 1);
  const std::string group = cut_group(variant);
  std::string known;
  for (const ExportFormat& format : export_formats()) {
    for (const std::string_view each : format.variants)
      known += concat(known.empty() ? "" : ", ", format.name, each.empty() ? "" : ":", each);
    if (!format.group_sizes.empty()) known += concat(" (", group_names(format), " behind it)");
    const auto& variants = format.variants;
    if (format.name == name &&
        std::find(variants.begin(), variants.end(), variant) != variants.end() &&
        (group.empty() || size_of_group(format, group) != 0))
      return {&format, variant, group.empty() ? 0 : size_of_group(format, group)};
  }
  fail(ExitCode::configuration, "export_formats: ", text, ": supported are ", known);
}

}  // namespace isogrid
