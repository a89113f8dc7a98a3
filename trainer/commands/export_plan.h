#pragma once
#include <string>
#include <vector>

#include "configs/export_config.h"
#include "export/registry.h"

namespace isogrid {

/// What goes where. Without a list the merged model goes into export_dir itself.
struct PlannedExport {
  WantedExport wanted;
  std::string directory;  // the folder it is, or the folder its file lies in
  std::string file_name;  // of a file with a name of its own; empty: the format's own name
};

/// All of export_formats, or the one model that export_quantization_bit asks for, under the names
/// of export_layout. Two entries that would lie in one place are refused (78).
std::vector<PlannedExport> plan_exports(const ExportConfig& config);

/// The file or folder it becomes.
std::string written_path(const PlannedExport& plan, const ExportSource& source);

}  // namespace isogrid
