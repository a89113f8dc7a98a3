#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/safetensors.h"

namespace isogrid {

/// What is in a file or folder, as `trainer inspect` shows it.
struct TensorListing {
  struct Row {
    std::string file;  // plain name
    TensorEntry entry;
  };
  std::string format;     // "safetensors" for a file, "hf" for a model's folder, "adapter"
  Json metadata;          // of the file; of a folder: its config and its files'
  std::vector<Row> rows;  // by name, layer 10 after layer 9
};

TensorListing list_tensors(const std::string& path);

/// Compares names with their numbers as numbers.
bool natural_less(std::string_view a, std::string_view b);

}  // namespace isogrid
