#include "export/gguf_identity.h"

#include <filesystem>

#include "export/gguf_metadata.h"

namespace isogrid {

std::string folder_title(const std::string& path) {
  namespace fs = std::filesystem;
  fs::path folder = fs::absolute(path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  const fs::path snapshots = folder.parent_path();
  const std::string store = snapshots.parent_path().filename().string();
  const size_t name = store.rfind("--");
  if (snapshots.filename() == "snapshots" && store.starts_with("models--"))
    return store.substr(name + 2);
  return folder.filename().string();
}

void add_identity(const ModelFolder& folder, uint64_t parameters, GgufMetadata& metadata) {
  metadata.add("general.name", folder_title(folder.path));
  metadata.add("general.size_label", size_label(parameters));
}

}  // namespace isogrid
