#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/json.h"
#include "core/tensor_file.h"
#include "export/registry.h"
#include "models/gguf_mix.h"
#include "models/hub_cache.h"
#include "models/weights.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/convert_lut.h"
#include "trainer/open_model.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

std::string spelled_type(at::ScalarType type) {
  if (type == at::kHalf) return "f16";
  return type == at::kBFloat16 ? "bf16" : "f32";
}

/// A mix of GGUF types; without a word, the type the weights are stored in.
std::string gguf_outtype(const ExportSource& source, const std::optional<std::string>& outtype) {
  const GgufMix* mix = find_gguf_mix(outtype.value_or(spelled_type(stored_type(*source.weights))));
  if (mix != nullptr) return std::string(mix->variant);
  std::string known;
  for (const GgufMix& each : gguf_mixes()) known += concat(known.empty() ? "" : ", ", each.variant);
  fail(ExitCode::usage, "convert: --outtype ", *outtype, ": allowed for a GGUF file are ", known);
}

/// The type of a folder's weights; empty: each as it is stored.
std::string folder_outtype(const std::optional<std::string>& outtype) {
  constexpr std::pair<const char*, const char*> kTypes[] = {
      {"f32", "float32"}, {"bf16", "bfloat16"}, {"f16", "float16"}};
  if (!outtype) return "";
  for (const auto& [brief, full] : kTypes)
    if (*outtype == brief || *outtype == full) return full;
  fail(ExitCode::usage, "convert: --outtype ", *outtype,
       ": allowed for a folder are f32, bf16 and f16; a GGUF file (a name ending in .gguf) may "
       "have others");
}

/// Reading from the place that is written to would destroy what is read.
void check_apart(const std::string& from, const std::string& to) {
  std::error_code ignored;
  if (fs::exists(to, ignored) && fs::equivalent(from, to, ignored))
    fail(ExitCode::usage, "convert: ", from, " and ", to, " are the same; name another place");
}

}  // namespace

int run_convert(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  const std::string from = resolve_model(invocation.positional.at(0), config.model.model_revision);
  const std::string to = invocation.positional.at(1);
  check_apart(from, to);
  if (converts_to_lut(invocation)) return convert_to_lut(invocation, from, to);
  const bool to_gguf = to.ends_with(".gguf");
  const std::string folder_type = to_gguf ? "" : folder_outtype(invocation.options.outtype);
  ExportSource source = open_export_source(from, open_adapters(config));
  std::string format = "gguf";
  if (to_gguf) {
    const std::string variant = gguf_outtype(source, invocation.options.outtype);
    const fs::path parent = fs::path(to).parent_path();
    if (!parent.empty()) make_directories(parent.string());
    write_gguf_file(source, variant, to, config.exporting);
    format += ":" + variant;
  } else {
    write_hf(
        source,
        {.format = "hf", .variant = folder_type, .directory = to, .config = &config.exporting});
    format = folder_type.empty() ? "hf" : "hf:" + folder_type;
  }
  Json result = {{"format", format}, {"path", to}};
  if (invocation.options.eval) result["eval"] = conversion_losses(invocation, from, to);
  if (invocation.options.json)
    std::fputs(dump_json(result).c_str(), stdout);
  else
    std::printf("%s: %s\n", format.c_str(), to.c_str());
  if (invocation.options.eval && !invocation.options.json) print_losses(result["eval"]);
  return 0;
}

}  // namespace isogrid
