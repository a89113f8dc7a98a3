#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/hash.h"
#include "core/input_directory.h"
#include "core/json_fwd.h"

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

/// `{"format_version": 1, <facts>, "files": {"name": {"bytes": N, "sha256": "..."}},
/// "manifest_sha256": "..."}`. The last is the hash of every byte of the text before its digits, so
/// no bit of a manifest changes unseen. `facts` is an object of keys that other parts own.
std::string manifest_text(const Manifest& manifest, const Json& facts);

/// Refuses (65) a newer major version, a name that is not plain, and a text that is not the one
/// its own hash was made of. `facts`, where given, receives the whole object.
Manifest parse_manifest(std::string_view text, const std::string& name, Json* facts = nullptr);

/// One line for each file that is missing, extra, of another size or of another hash.
std::vector<std::string> manifest_problems(const Manifest& manifest, const InputDirectory& folder);

}  // namespace isogrid
