#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/io_writer.h"
#include "core/json.h"
#include "core/version.h"
#include "export/registry.h"
#include "trainer/commands/calibration.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/merge_base.h"
#include "trainer/open_model.h"

namespace isogrid {
namespace {

/// What goes where. Without a list the merged model goes into export_dir itself.
struct PlannedExport {
  WantedExport wanted;
  std::string directory;
};

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

std::vector<PlannedExport> plan_exports(const ExportConfig& config) {
  if (!config.export_dir)
    fail(ExitCode::configuration, "export_dir: is missing; name the folder the exports go to");
  if (config.export_quantization_bit) return {{wanted_bits(config), *config.export_dir}};
  if (config.export_formats.empty()) return {{wanted_export("hf"), *config.export_dir}};
  std::vector<PlannedExport> plan;
  for (const std::string& text : config.export_formats) {
    WantedExport wanted = wanted_export(text);
    auto directory = std::filesystem::path(*config.export_dir);
    if (wanted.format->file_name == nullptr) directory /= wanted.folder_name();
    plan.push_back({std::move(wanted), directory.string()});
  }
  return plan;
}

std::string written_path(const PlannedExport& plan, const ExportSource& source) {
  const ExportFormat& format = *plan.wanted.format;
  if (format.file_name == nullptr) return plan.directory;
  const std::string name = format.file_name(source, plan.wanted.variant);
  return (std::filesystem::path(plan.directory) / name).string();
}

/// What cannot be read from the files: what they were calibrated on, and merged into.
void write_provenance_note(const RunConfig& config, const PlannedExport& plan,
                           const MergeChoice& merge, const PackedModel& packed) {
  if (plan.wanted.format->file_name != nullptr || (packed.text.empty() && !merge.loss_original))
    return;
  std::string text =
      concat("---\nbase_model: ", required_model(config), "\n---\n\n# ", plan.wanted.folder_name(),
             "\n\nWritten by isogrid ", program_version(), " from ", required_model(config), ".\n");
  for (const std::string& adapter : config.model.adapter_name_or_path)
    text += concat("Adapter: ", adapter, ".\n");
  if (merge.loss_original)
    text += concat("\n## Merge\n\nThe adapter is ", merge.described(), ".\n");
  if (!packed.text.empty())
    text += concat("\n## Quantisation\n\nCalibrated on ", packed.text,
                   ".\nWorst layer: ", packed.worst_layer, ", whose product is off by ",
                   packed.worst_error * 100, " %.\n");
  write_file_durably((std::filesystem::path(plan.directory) / "README.md").string(),
                     as_bytes(text));
}

}  // namespace

int run_export(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  const std::vector<PlannedExport> plan = plan_exports(config.exporting);
  MergeChoice merge;
  ExportSource source = open_merged_source(config, merge);
  CalibrationText text;
  Json written = Json::array();
  for (const PlannedExport& each : plan) {
    ExportRequest request;
    request.format = std::string(each.wanted.format->name);
    request.variant = each.wanted.variant;
    request.directory = each.directory;
    request.config = &config.exporting;
    request.double_quantization = config.quantisation.double_quantization;
    request.group_size = chosen_group_size(each.wanted, source.model);
    request.names_group = each.wanted.group_size != 0;
    PackedModel packed;
    if (each.wanted.format->is_calibrated) {
      if (text.rows.empty()) text = open_calibration_text(config);
      packed = calibrated_model(config, each.wanted, request.group_size, source.model, text);
      request.packed = &packed;
    }
    each.wanted.format->write(source, request);
    write_provenance_note(config, each, merge, packed);
    const std::string path = written_path(each, source);
    written.push_back({{"format", each.wanted.folder_name()}, {"path", path}});
    if (!invocation.options.json)
      std::printf("%s: %s\n", each.wanted.folder_name().c_str(), path.c_str());
  }
  if (invocation.options.json) std::fputs(dump_json(written).c_str(), stdout);
  return 0;
}

}  // namespace isogrid
