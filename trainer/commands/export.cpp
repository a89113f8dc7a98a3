#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "export/registry.h"
#include "trainer/commands/commands.h"
#include "trainer/open_model.h"

namespace isogrid {
namespace {

/// What goes where. Without a list the merged model goes into export_dir itself.
struct PlannedExport {
  WantedExport wanted;
  std::string directory;
};

std::vector<PlannedExport> plan_exports(const ExportConfig& config) {
  if (!config.export_dir)
    fail(ExitCode::configuration, "export_dir: is missing; name the folder the exports go to");
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

}  // namespace

int run_export(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  const std::vector<PlannedExport> plan = plan_exports(config.exporting);
  ExportSource source = open_export_source(model_folder_path(config), open_adapters(config));
  Json written = Json::array();
  for (const PlannedExport& each : plan) {
    ExportRequest request;
    request.format = std::string(each.wanted.format->name);
    request.variant = each.wanted.variant;
    request.directory = each.directory;
    request.config = &config.exporting;
    each.wanted.format->write(source, request);
    const std::string path = written_path(each, source);
    written.push_back({{"format", each.wanted.folder_name()}, {"path", path}});
    if (!invocation.options.json)
      std::printf("%s: %s\n", each.wanted.folder_name().c_str(), path.c_str());
  }
  if (invocation.options.json) std::fputs(dump_json(written).c_str(), stdout);
  return 0;
}

}  // namespace isogrid
