#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/gguf.h"
#include "core/input_directory.h"

namespace isogrid {

/// One GGUF model: a file, or the parts it was split into, in order.
struct GgufParts {
  std::vector<std::shared_ptr<const GgufFile>> files;
  const GgufFile& first() const { return *files.front(); }
};

/// A model's folder, or a GGUF file (or a folder that holds one and no config.json) as the folder
/// it amounts to: config.json, tokenizer.json and the other small files are made from its keys when
/// they are asked for. Missing: exit code 66; malformed: 65.
std::shared_ptr<const InputDirectory> open_model_directory(const std::string& path);

}  // namespace isogrid
