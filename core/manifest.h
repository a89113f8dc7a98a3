#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/hash.h"
#include "core/input_directory.h"

namespace isogrid {

inline constexpr const char* kManifestName = "MANIFEST.json";

/// What a committed folder consists of: size and SHA-256 of every file beside the manifest.
struct Manifest {
  struct File {
    uint64_t bytes = 0;
    std::string sha256;  // 64 hexadecimal digits
  };
  std::map<std::string, File> files;
};

/// `{"format_version": 1, "files": {"name": {"bytes": N, "sha256": "..."}}}` and further keys that
/// other parts own. A newer major version, or a name that is not plain, is refused (65).
Manifest parse_manifest(std::string_view text, const std::string& name);

/// One line for each file that is missing, extra, of another size or of another hash.
std::vector<std::string> manifest_problems(const Manifest& manifest, const InputDirectory& folder);

}  // namespace isogrid
