#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf_folder.h"
#include "core/input_directory.h"
#include "core/safetensors.h"

namespace isogrid {

/// model.safetensors.index.json as it stands: which file holds which tensor.
struct ShardIndex {
  std::map<std::string, std::string> file_of;  // tensor -> plain file name
  std::optional<double> total_size;            // bytes of all tensors; some writers leave it out
};

inline constexpr uint64_t kMaxShardIndexBytes = 64 << 20;
inline constexpr size_t kMaxShards = 10'000;

/// Refuses (65) duplicate tensors, paths that are no plain .safetensors names, more than the
/// limits, a total_size that is no count of bytes.
ShardIndex parse_shard_index(std::string_view text, const std::string& name);

struct WeightLocation {
  std::string name;
  std::shared_ptr<const SafetensorsFile> file;  // null: it lies in a GGUF file
  const TensorEntry* entry = nullptr;           // shape and type; of a GGUF tensor, as it decodes
  std::shared_ptr<const GgufFile> gguf = {};
  const GgufTensor* blocks = nullptr;
  int64_t interleaved_heads = 0;  // its rows alternate between the halves of this many heads

  ByteSpan bytes() const { return gguf ? gguf->bytes(*blocks) : file->bytes(*entry); }
};

/// Every tensor of a model and where its bytes are: one file or shards with an index.
class WeightIndex {
 public:
  explicit WeightIndex(std::vector<std::shared_ptr<const SafetensorsFile>> files);

  /// A GGUF model, its tensors under the names of the published checkpoint.
  explicit WeightIndex(const GgufParts& gguf);

  const WeightLocation* find(std::string_view name) const;
  const std::vector<WeightLocation>& tensors() const { return tensors_; }  // sorted by name
  const std::vector<std::shared_ptr<const SafetensorsFile>>& files() const { return files_; }
  uint64_t total_bytes() const;

 private:
  void sort_by_name();

  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::deque<TensorEntry> decoded_;  // entries of GGUF tensors
  std::vector<WeightLocation> tensors_;
};

/// model.safetensors, else model.safetensors.index.json with its shards, for `stem` "model";
/// "adapter_model" opens an adapter's. Each tensor must be in the file the index names and in no
/// other. No such file: exit code 66, or 65 with the way to convert where there are only pickles.
WeightIndex open_weights(const InputDirectory& files, const std::string& stem = "model");

}  // namespace isogrid
