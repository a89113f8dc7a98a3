#include "models/weight_index.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/foreign_files.h"
#include "core/format.h"
#include "core/gguf_config.h"
#include "core/gguf_names.h"
#include "core/json_reader.h"
#include "core/log.h"

namespace isogrid {
namespace {

using SharedFile = std::shared_ptr<const SafetensorsFile>;

constexpr size_t kMaxListed = 20;  // problems in one message

double read_total_size(JsonReader& reader) {
  if (const JsonKind kind = reader.peek(); kind != JsonKind::number)
    reader.refuse("key 'metadata.total_size': came ", describe(kind), ", allowed is a number");
  const JsonNumber number = reader.number();
  // Some writers divide on the way and store 1.6e10.
  const double size = number.kind == JsonNumber::Kind::real ? number.real
                      : number.kind == JsonNumber::Kind::natural
                          ? static_cast<double>(number.natural)
                          : -1.0;
  if (size < 0 || size != std::floor(size))
    reader.refuse("key 'metadata.total_size': allowed is a count of bytes");
  return size;
}

void read_index_metadata(JsonReader& reader, ShardIndex& index) {
  if (reader.peek() == JsonKind::null) return reader.null();
  if (const JsonKind kind = reader.peek(); kind != JsonKind::object)
    reader.refuse("key 'metadata': came ", describe(kind), ", allowed is an object");
  reader.begin_object();
  for (std::string_view key; reader.next_key(key);) {
    if (key != "total_size") {
      reader.skip();
      continue;
    }
    if (index.total_size) reader.refuse("key 'metadata.total_size' appears twice");
    index.total_size = read_total_size(reader);
  }
}

void read_weight_map(JsonReader& reader, ShardIndex& index) {
  if (const JsonKind kind = reader.peek(); kind != JsonKind::object)
    reader.refuse("key 'weight_map': came ", describe(kind), ", allowed is an object");
  std::set<std::string, std::less<>> shards;
  reader.begin_object();
  for (std::string_view view; reader.next_key(view);) {
    if (!is_tensor_name(view))
      reader.refuse("key 'weight_map': a tensor's name has ", view.size(), " bytes, allowed are ",
                    kMaxTensorName, " without control characters");
    const std::string tensor(view);
    if (const JsonKind kind = reader.peek(); kind != JsonKind::string)
      reader.refuse("key 'weight_map.", tensor, "': came ", describe(kind),
                    ", allowed is a string");
    const std::string_view file = reader.string();
    if (!is_plain_file_name(file) || has_pickle_name(file) || !file.ends_with(".safetensors"))
      reader.refuse("key 'weight_map.", tensor, "': came '", file.substr(0, 80),
                    "', allowed is the plain name of a .safetensors file in the same folder");
    if (!shards.contains(file)) shards.emplace(file);
    if (shards.size() > kMaxShards)
      reader.refuse("key 'weight_map': allowed are ", kMaxShards, " files");
    if (index.file_of.size() == kMaxTensors)
      reader.refuse("key 'weight_map': allowed are ", kMaxTensors, " tensors");
    if (!index.file_of.emplace(tensor, file).second)
      reader.refuse("key 'weight_map': tensor '", tensor, "' appears twice");
  }
}

/// Names what index and files disagree on, all at once.
class Disagreements {
 public:
  void add(std::string line) {
    if (++count_ <= kMaxListed) text_ += "\n  " + std::move(line);
  }
  void refuse_if_any(const std::string& index_name) const {
    if (count_ == 0) return;
    const std::string more =
        count_ > kMaxListed ? concat("\n  and ", count_ - kMaxListed, " more") : "";
    fail(ExitCode::refused_input, index_name, ": key 'weight_map' and the files disagree:", text_,
         more);
  }

 private:
  size_t count_ = 0;
  std::string text_;
};

std::vector<SharedFile> open_shards(const InputDirectory& files, const std::string& index_name) {
  const std::string shown = files.shown(index_name);
  const ShardIndex index = parse_shard_index(files.read(index_name, kMaxShardIndexBytes), shown);
  std::map<std::string, SharedFile> shards;
  Disagreements wrong;
  for (const auto& [tensor, name] : index.file_of) {
    SharedFile& file = shards[name];
    if (!file) file = std::make_shared<const SafetensorsFile>(files.open(name), files.shown(name));
    if (file->header().find(tensor) == nullptr)
      wrong.add(concat("tensor '", tensor, "' is not in '", name, "'"));
  }
  double total = 0;
  std::vector<SharedFile> opened;
  for (const auto& [name, file] : shards) {
    for (const TensorEntry& entry : file->header().tensors()) {
      total += static_cast<double>(entry.bytes());
      const auto listed = index.file_of.find(entry.name);
      if (listed == index.file_of.end())
        wrong.add(concat("tensor '", entry.name, "' is in '", name, "' but not in the index"));
      else if (listed->second != name)
        wrong.add(concat("tensor '", entry.name, "' is in '", name, "' too, the index names '",
                         listed->second, "'"));
    }
    opened.push_back(file);
  }
  wrong.refuse_if_any(shown);
  if (index.total_size && *index.total_size != total)
    fail(ExitCode::refused_input, shown, ": key 'metadata.total_size': came ",
         static_cast<uint64_t>(*index.total_size), ", the tensors have ",
         static_cast<uint64_t>(total),
         " bytes; are all shards of one version? If so, mend or remove the key");
  return opened;
}

/// Blocks decode to numbers of 32 bits.
Dtype decoded_type(const GgufType& type) {
  if (type.name == "F16") return Dtype::f16;
  if (type.name == "BF16") return Dtype::bf16;
  return type.name == "F64" ? Dtype::f64 : Dtype::f32;
}

[[noreturn]] void no_weights(const InputDirectory& files, const std::string& stem) {
  for (const std::string& name : files.names())
    if (has_pickle_name(name))
      fail(ExitCode::refused_input, foreign_file_problem(files.shown(name), {}));
  fail(ExitCode::missing_input, files.path(), ": holds no weights; needed is ", stem,
       ".safetensors, or ", stem, ".safetensors.index.json and its shards");
}

}  // namespace

ShardIndex parse_shard_index(std::string_view text, const std::string& name) {
  if (text.size() > kMaxShardIndexBytes)
    fail(ExitCode::refused_input, name, ": allowed are ", human_bytes(kMaxShardIndexBytes));
  ShardIndex index;
  bool has_map = false, has_metadata = false;
  JsonReader reader(text, name);
  reader.begin_object();
  for (std::string_view key; reader.next_key(key);) {
    if (key == "weight_map") {
      if (std::exchange(has_map, true)) reader.refuse("key 'weight_map' appears twice");
      read_weight_map(reader, index);
    } else if (key == "metadata") {
      if (std::exchange(has_metadata, true)) reader.refuse("key 'metadata' appears twice");
      read_index_metadata(reader, index);
    } else {
      reader.skip();
    }
  }
  reader.finish();
  if (!has_map) fail(ExitCode::refused_input, name, ": key 'weight_map' is missing");
  return index;
}

WeightIndex::WeightIndex(std::vector<SharedFile> files) : files_(std::move(files)) {
  for (const SharedFile& file : files_)
    for (const TensorEntry& entry : file->header().tensors())
      tensors_.push_back({entry.name, file, &entry});
  sort_by_name();
}

WeightIndex::WeightIndex(const GgufParts& gguf) {
  const GgufHeader& header = gguf.first().header();
  const GgufArchitecture& architecture = gguf_architecture(header);
  const std::string prefix = std::string(architecture.name) + ".attention.head_count";
  const auto heads = static_cast<int64_t>(header.natural(prefix));
  const auto kv_heads =
      static_cast<int64_t>(header.natural_or(prefix + "_kv", static_cast<uint64_t>(heads)));
  for (const auto& file : gguf.files)
    for (const GgufTensor& tensor : file->header().tensors()) {
      if (tensor.name == "rope_freqs.weight") continue;  // read as a setting
      const std::string_view part = gguf_part_of(tensor.name);
      TensorEntry entry;
      entry.name = checkpoint_tensor_name(tensor.name).value_or(tensor.name);
      entry.dtype = decoded_type(*tensor.type);
      entry.shape = tensor.shape();
      entry.end = tensor_bytes(entry.dtype, entry.shape).value_or(0);
      decoded_.push_back(std::move(entry));
      const int64_t alternating = !architecture.interleaved_heads || !is_rotated_part(part) ? 0
                                  : part.starts_with("attn_q")                              ? heads
                                                               : kv_heads;
      tensors_.push_back(
          {decoded_.back().name, nullptr, &decoded_.back(), file, &tensor, alternating});
    }
  sort_by_name();
}

void WeightIndex::sort_by_name() {
  std::sort(tensors_.begin(), tensors_.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twice =
      std::adjacent_find(tensors_.begin(), tensors_.end(),
                         [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twice == tensors_.end()) return;
  const auto file_name = [](const WeightLocation& location) {
    return location.gguf ? location.gguf->name() : location.file->name();
  };
  fail(ExitCode::refused_input, "tensor '", twice->name, "' is in '", file_name(*twice),
       "' and again in '", file_name(*std::next(twice)), "'");
}

const WeightLocation* WeightIndex::find(std::string_view name) const {
  const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                      [](const WeightLocation& location, std::string_view wanted) {
                                        return location.name < wanted;
                                      });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

uint64_t WeightIndex::total_bytes() const {
  uint64_t total = 0;
  for (const WeightLocation& location : tensors_) total += location.entry->bytes();
  return total;
}

WeightIndex open_weights(const InputDirectory& files, const std::string& stem) {
  if (files.gguf()) return WeightIndex(*files.gguf());
  const std::string single = stem + ".safetensors", index = single + ".index.json";
  const bool has_single = files.has(single), has_index = files.has(index);
  if (has_single && has_index)
    log_warning(concat(files.shown(index), ": is ignored, since ", single, " is there too"));
  if (has_single)
    return WeightIndex(
        {std::make_shared<const SafetensorsFile>(files.open(single), files.shown(single))});
  if (has_index) return WeightIndex(open_shards(files, index));
  no_weights(files, stem);
}

}  // namespace isogrid
