#pragma once
#include <string>

#include "configs/export_config.h"

namespace isogrid {

/// What push_to_hub will need, looked at before the work begins: a repository's name (78) and the
/// hub's own command line tool (66).
void check_upload(const ExportConfig& config);

/// Puts a folder on the hub by scripts/upload, which travels inside the program and calls that
/// tool; returns the address. When it fails (74), the folder stays as it is and the message says
/// how to try again.
std::string upload_folder(const std::string& folder, const ExportConfig& config);

/// The text of scripts/upload.
const char* upload_script();

}  // namespace isogrid
