#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"

namespace isogrid {

/// What is in a file or folder, as `trainer inspect` shows it.
struct TensorListing {
  struct Row {
    std::string file;  // plain name
    std::string name;
    std::string dtype;  // "BF16", "Q4_K"
    std::vector<int64_t> shape;
    uint64_t bytes = 0, elements = 0;
  };
  std::string format;  // "safetensors" or "gguf" for a file, "hf" for a model's folder, "adapter"
  Json metadata;       // of the file; of a folder: its config and its files'
  std::vector<Row> rows;  // by name, layer 10 after layer 9
};

TensorListing list_tensors(const std::string& path);

/// Compares names with their numbers as numbers.
bool natural_less(std::string_view a, std::string_view b);

}  // namespace isogrid
