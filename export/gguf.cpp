#include <algorithm>
#include <filesystem>
#include <map>

#include <ATen/ops/tensor.h>

#include "core/error.h"
#include "core/gguf_names.h"
#include "core/gguf_writer.h"
#include "core/imatrix_file.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "export/gguf_identity.h"
#include "export/gguf_metadata.h"
#include "export/gguf_tensors.h"
#include "export/gguf_trained.h"
#include "export/gguf_vocabulary.h"
#include "export/registry.h"
#include "models/gguf_mix.h"
#include "models/head_order.h"

namespace isogrid {
namespace {

/// A tensor of the file and where its values come from.
struct GgufSource {
  GgufTensor tensor;
  std::function<at::Tensor()> value = {};
  const WeightLocation* blocks = nullptr;  // in another GGUF file, in the very order of this one
  /// The codes it was trained with, rows in the order of `value`'s.
  const TrainedWeight* trained = nullptr;
  int64_t rotated_heads = 0;  // rows are interleaved within this many heads
  at::ScalarType stored = at::kFloat;
};

GgufTensor described(const std::string& name, const std::vector<int64_t>& shape) {
  GgufTensor tensor;
  tensor.name = name;
  tensor.rank = static_cast<uint32_t>(shape.size());
  std::copy(shape.rbegin(), shape.rend(), tensor.dims.begin());
  return tensor;
}

/// Names outside the layers first, then layer by layer, then by name.
bool file_order(const GgufSource& a, const GgufSource& b) {
  const int64_t layer_a = gguf_layer_of(a.tensor.name), layer_b = gguf_layer_of(b.tensor.name);
  return layer_a != layer_b ? layer_a < layer_b : a.tensor.name < b.tensor.name;
}

std::vector<GgufSource> gguf_sources(ExportSource& source) {
  const DecoderConfig& config = source.model.config;
  const GgufArchitecture* architecture = find_gguf_architecture(config.architecture);
  std::vector<GgufSource> list;
  for (ExportTensor& tensor : export_tensors(source)) {
    const auto name = gguf_tensor_name(tensor.name);
    if (!name) fail(ExitCode::internal, tensor.name, ": has no name in GGUF");
    GgufSource entry{described(*name, tensor.shape), std::move(tensor.value), tensor.blocks,
                     tensor.trained};
    entry.stored = tensor.stored;
    const std::string_view part = gguf_part_of(*name);
    if (architecture != nullptr && architecture->interleaved_heads && is_rotated_part(part)) {
      const int64_t heads = part.starts_with("attn_q") ? config.heads : config.kv_heads;
      entry.rotated_heads = heads;
      entry.value = [heads, value = std::move(entry.value)] {
        return interleaved_heads(value(), heads);
      };
    }
    list.push_back(std::move(entry));
  }
  if (const std::vector<float> divisors = rope_divisors(config); !divisors.empty())
    list.push_back({described("rope_freqs.weight", {static_cast<int64_t>(divisors.size())}),
                    [divisors] { return at::tensor(divisors); }});
  std::sort(list.begin(), list.end(), file_order);
  return list;
}

const GgufMix& mix_of(const std::string& variant) {
  const GgufMix* mix = find_gguf_mix(variant);
  if (mix == nullptr) fail(ExitCode::internal, "gguf:", variant, " is not in the table of mixes");
  return *mix;
}

/// The type of a tensor where the file holds the codes of a training: theirs; what training left
/// alone stays as it is published.
const GgufType& trained_type(const GgufSource& entry, const GgufMix& mix, const GgufType& usual) {
  if (entry.trained != nullptr) return gguf_type_of(*entry.trained->grid, mix);
  if (usual.block == 1) return usual;
  return gguf_type(entry.stored == at::kHalf       ? "F16"
                   : entry.stored == at::kBFloat16 ? "BF16"
                                                   : "F32");
}

at::Tensor trained_blocks(const GgufSource& entry) {
  const at::Tensor blocks = gguf_blocks(*entry.trained, *entry.tensor.type);
  return entry.rotated_heads > 0 ? interleaved_heads(blocks, entry.rotated_heads) : blocks;
}

uint64_t parameters_of(const std::vector<GgufSource>& sources) {
  uint64_t count = 0;
  for (const GgufSource& entry : sources)
    count += static_cast<uint64_t>(entry.tensor.rows() * entry.tensor.columns());
  return count;
}

GgufMixOptions mix_options(const ExportConfig& config) {
  GgufMixOptions options;
  options.pure = config.gguf_pure;
  for (const std::string& text : config.gguf_tensor_types)
    options.overrides.push_back(parse_type_override(text, "gguf_tensor_types"));
  return options;
}

/// The importance matrix an export was given, if any.
class Importance {
 public:
  explicit Importance(const std::optional<std::string>& path) : path_(path) {
    if (!path) return;
    matrix_ = read_imatrix(*path);
    for (const auto& [name, sums] : matrix_.weights) means_[name] = sums.means();
  }
  bool known() const { return path_.has_value(); }
  bool has(const std::string& name) const { return means_.contains(name); }

  /// Of the columns of this tensor; empty: not known, as of embeddings.
  std::span<const float> of(const GgufTensor& tensor) const {
    const auto found = means_.find(tensor.name);
    if (found == means_.end()) return {};
    if (static_cast<int64_t>(found->second.size()) != tensor.columns())
      fail(ExitCode::refused_input, *path_, ": '", tensor.name, "' has ", found->second.size(),
           " columns, the model's has ", tensor.columns(), "; was it measured on another model?");
    return found->second;
  }
  /// As llama-quantize says what it used.
  void tell(GgufMetadata& metadata) const {
    if (!known()) return;
    metadata.add("quantize.imatrix.file", *path_);
    if (!matrix_.datasets.empty())
      metadata.add("quantize.imatrix.dataset", matrix_.datasets.front());
    metadata.add("quantize.imatrix.entries_count", static_cast<uint32_t>(means_.size()));
    if (matrix_.chunks > 0) metadata.add("quantize.imatrix.chunks_count", matrix_.chunks);
  }

 private:
  std::optional<std::string> path_;
  ImportanceMatrix matrix_;
  std::map<std::string, std::vector<float>> means_;
};

/// At two bits and this mix the engine's makers found nothing usable without knowing what matters.
void require_importance(const GgufMix& mix, const GgufTensor& tensor,
                        const Importance& importance) {
  if (mix.label == "Q2_K_S" && tensor.type->name == "Q2_K" && gguf_layer_of(tensor.name) >= 0 &&
      !importance.has(tensor.name))
    fail(ExitCode::configuration, "export_formats: gguf:q2_k_s: needs an importance matrix with ",
         tensor.name, ": trainer imatrix makes one, imatrix: FILE names it");
}

void choose_types(std::vector<GgufSource>& sources, const DecoderConfig& config, const GgufMix& mix,
                  const GgufMixOptions& options, const Importance& importance) {
  const MixModel shape{.architecture = find_gguf_architecture(config.architecture)->name,
                       .layers = config.layers,
                       .heads = config.heads,
                       .kv_heads = config.kv_heads,
                       .tied_head = config.tied_head,
                       .has_importance = importance.known()};
  for (GgufSource& entry : sources) {
    GgufTensor& tensor = entry.tensor;
    tensor.type = &mixed_type(mix, shape, options, tensor.name, tensor.rank, tensor.columns());
    require_importance(mix, tensor, importance);
  }
}

}  // namespace

std::string gguf_file_name(const ExportSource& source, const std::string& variant) {
  const std::string_view label = variant == "lora" ? "LORA" : mix_of(variant).label;
  return concat(folder_title(source.folder.path), "-", label, ".gguf");
}

void write_gguf_file(ExportSource& source, const std::string& variant, const std::string& path,
                     const ExportConfig& config, IoCalls& io) {
  const GgufMix& mix = mix_of(variant);
  std::vector<GgufSource> sources = gguf_sources(source);
  GgufMetadata metadata =
      model_metadata(source.folder, source.model.config, mix, parameters_of(sources));
  const Importance importance(config.imatrix);
  choose_types(sources, source.model.config, mix, mix_options(config), importance);
  const bool trained_file = source.codes && holds_trained_codes(*source.codes, mix);
  if (trained_file)
    for (GgufSource& entry : sources)
      entry.tensor.type = &trained_type(entry, mix, *entry.tensor.type);
  else if (source.codes)
    log_warning(concat("gguf:", variant, ": the weights were trained for ", source.codes->target,
                       "; this is a new quantisation of them"));
  importance.tell(metadata);
  add_vocabulary(source.folder, source.model.config.vocabulary, metadata);

  std::vector<GgufTensor> tensors;
  std::map<std::string, const GgufSource*> by_name;
  for (const GgufSource& entry : sources) {
    tensors.push_back(entry.tensor);
    by_name[entry.tensor.name] = &entry;
  }
  const GgufLayout layout = plan_gguf(metadata, std::move(tensors));
  const GgufProducer produce = [&](const GgufTensor& tensor, OutputFile& file) {
    const GgufSource& from = *by_name.at(tensor.name);
    if (trained_file && from.trained != nullptr) return append_blocks(trained_blocks(from), file);
    // Codes and scales are carried over, never searched for again.
    if (from.blocks != nullptr && from.blocks->blocks->type == tensor.type)
      return file.append(from.blocks->bytes());
    append_rows(from.value(), *tensor.type, importance.of(tensor), tensor.name, file);
  };
  write_file_durably(
      path, layout.file_size, [&](OutputFile& file) { append_gguf(file, layout, produce); }, io);
  const GgufFile written(path);  // strictly, as a stranger's
  if (written.header().tensors().size() != layout.tensors.size())
    fail(ExitCode::internal, path, ": came back with other tensors than were written");
  if (!trained_file) return;
  for (const GgufTensor& tensor : written.header().tensors())
    if (by_name.at(tensor.name)->trained != nullptr)
      check_decodes_to(tensor, written.bytes(tensor), by_name.at(tensor.name)->value());
}

void write_gguf(ExportSource& source, const ExportRequest& request) {
  make_directories(request.directory);
  const std::string name =
      request.file_name.empty() ? gguf_file_name(source, request.variant) : request.file_name;
  write_gguf_file(source, request.variant,
                  (std::filesystem::path(request.directory) / name).string(), *request.config);
}

}  // namespace isogrid
