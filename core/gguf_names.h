#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace isogrid {

/// How GGUF spells an architecture of ours. One row of the table behind these functions.
struct GgufArchitecture {
  std::string_view model_type;  // of config.json
  std::string_view class_name;  // what its `architectures` lists
  std::string_view name;        // of general.architecture and the keys
  bool interleaved_heads;       // rows of q and k alternate between the halves of a head
};

/// Null: GGUF, or the engine behind it, has no such architecture.
const GgufArchitecture* find_gguf_architecture(std::string_view model_type);
/// By GGUF's name; the first one of that name.
const GgufArchitecture* architecture_of_gguf(std::string_view name);
std::string gguf_architecture_names();  // for messages

/// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight"; nothing for a name no
/// decoder of ours has.
std::optional<std::string> gguf_tensor_name(std::string_view checkpoint_name);
/// The other way.
std::optional<std::string> checkpoint_tensor_name(std::string_view gguf_name);

/// The layer of a GGUF name, -1 for one outside the layers; "attn_q.weight" for its part.
int64_t gguf_layer_of(std::string_view gguf_name);
std::string_view gguf_part_of(std::string_view gguf_name);

/// Is it one of those whose rows alternate: q or k, weight or bias?
bool is_rotated_part(std::string_view part);

}  // namespace isogrid
