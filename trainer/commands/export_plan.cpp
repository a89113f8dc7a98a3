#include "trainer/commands/export_plan.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "core/error.h"

namespace isogrid {
namespace {

/// export_quantization_bit is LLaMA-Factory's way to ask for one GPTQ model.
WantedExport wanted_bits(const ExportConfig& config) {
  const int64_t bits = *config.export_quantization_bit;
  if (!config.export_formats.empty())
    fail(ExitCode::configuration, "export_quantization_bit = ", bits,
         " and export_formats: both say what to write; gptq:", bits,
         " in the list is what the first one means");
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
    fail(ExitCode::configuration, "export_quantization_bit: came ", bits,
         ", allowed are 2, 3, 4 and 8");
  return wanted_export(concat("gptq:", bits));
}

/// Names that another program's users look for, by export_layout; what is not here keeps its own.
const std::map<std::string, std::map<std::string, std::string>>& layouts() {
  static const std::map<std::string, std::map<std::string, std::string>> table{
      {"report",
       {{"hf", "merged-fp16"},
        {"hf:float16", "merged-fp16"},
        {"bnb:int8", "model-int8"},
        {"bnb:nf4", "model-int4"},
        {"gguf:f16", "model.gguf"}}},
      {"repository",
       {{"torchao:int8wo", "int8"}, {"torchao:int4wo", "int4"}, {"torchao:int8dq", "int8dq"}}},
  };
  return table;
}

/// The name in export_dir; empty: the format's own.
std::string name_in_layout(const std::string& layout, const WantedExport& wanted,
                           const std::string& text) {
  const auto names = layouts().find(layout);
  if (names == layouts().end()) return "";
  const auto name = names->second.find(text);
  if (name != names->second.end()) return name->second;
  if (layout == "report" && wanted.format->name == "gguf")
    return concat("model-", wanted.variant, ".gguf");
  return "";
}

void refuse_doubles(const std::vector<PlannedExport>& plan,
                    const std::vector<std::string>& formats) {
  std::map<std::string, std::string> taken;
  for (size_t i = 0; i < plan.size(); ++i) {
    const bool is_file = plan[i].wanted.format->file_name != nullptr;
    const std::string place =
        is_file ? concat(plan[i].directory, "/",
                         plan[i].file_name.empty() ? formats[i] : plan[i].file_name)
                : plan[i].directory;
    const auto [entry, is_new] = taken.emplace(place, formats[i]);
    if (!is_new)
      fail(ExitCode::configuration, "export_formats: ", entry->second, " and ", formats[i],
           " would both be ", place, "; leave one out");
  }
}

}  // namespace

std::vector<PlannedExport> plan_exports(const ExportConfig& config) {
  if (!config.export_dir)
    fail(ExitCode::configuration, "export_dir: is missing; name the folder the exports go to");
  if (config.export_quantization_bit) return {{wanted_bits(config), *config.export_dir, ""}};
  if (config.export_formats.empty()) return {{wanted_export("hf"), *config.export_dir, ""}};
  std::vector<PlannedExport> plan;
  for (const std::string& text : config.export_formats) {
    WantedExport wanted = wanted_export(text);
    const std::string name = name_in_layout(config.export_layout, wanted, text);
    auto directory = std::filesystem::path(*config.export_dir);
    if (wanted.format->file_name != nullptr) {
      plan.push_back({std::move(wanted), directory.string(), name});
    } else {
      directory /= name.empty() ? wanted.folder_name() : name;
      plan.push_back({std::move(wanted), directory.string(), ""});
    }
  }
  refuse_doubles(plan, config.export_formats);
  return plan;
}

std::string written_path(const PlannedExport& plan, const ExportSource& source) {
  const ExportFormat& format = *plan.wanted.format;
  if (format.file_name == nullptr) return plan.directory;
  const std::string name =
      plan.file_name.empty() ? format.file_name(source, plan.wanted.variant) : plan.file_name;
  return (std::filesystem::path(plan.directory) / name).string();
}

}  // namespace isogrid
