#pragma once
#include <cstdint>
#include <string>

namespace isogrid {

/// What the parts of a model's id are taken for: "Qwen/Qwen2.5-0.5B-Instruct" is the organisation
/// Qwen, the base name Qwen2.5, the size 0.5B and the finetune Instruct. Empty: not told.
struct ModelId {
  std::string organisation, name, base_name, finetune, version, size_label;
};

/// By llama.cpp's rules. A size that is far from `parameters` (0: not known) is read as a context
/// length, a part of the finetune.
ModelId parse_model_id(const std::string& id, uint64_t parameters);

/// "my-model-7b" -> "My Model 7b": words in small letters get a capital, versions stay.
std::string title_of(const std::string& id);

}  // namespace isogrid
