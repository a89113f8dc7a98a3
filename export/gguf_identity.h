#pragma once
#include <cstdint>
#include <string>

#include "core/gguf_writer.h"
#include "models/folder.h"

namespace isogrid {

/// The general.* keys that say whose model it is: name, size, licence, bases, tags.
void add_identity(const ModelFolder& folder, uint64_t parameters, GgufMetadata& metadata);

/// The name people know a folder by: its last part, or the id of a hub cache's snapshot.
std::string folder_title(const std::string& path);

}  // namespace isogrid
