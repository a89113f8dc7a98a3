#include <algorithm>
#include <filesystem>
#include <map>

#include <ATen/ops/tensor.h>

#include "core/error.h"
#include "core/gguf_writer.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "export/gguf_identity.h"
#include "export/gguf_metadata.h"
#include "export/gguf_tensors.h"
#include "export/gguf_trained.h"
#include "export/gguf_vocabulary.h"
#include "export/registry.h"
#include "models/gguf_mix.h"
#include "models/gguf_names.h"

namespace isogrid {
namespace {

/// A tensor of the file and where its values come from.
struct GgufSource {
  GgufTensor tensor;
  std::function<at::Tensor()> value = {};
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
    GgufSource entry{described(*name, tensor.shape), std::move(tensor.value), tensor.trained};
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

}  // namespace

std::string gguf_file_name(const ExportSource& source, const std::string& variant) {
  return concat(folder_title(source.folder.path), "-", mix_of(variant).label, ".gguf");
}

void write_gguf_file(ExportSource& source, const std::string& variant, const std::string& path) {
  const GgufMix& mix = mix_of(variant);
  const DecoderConfig& config = source.model.config;
  std::vector<GgufSource> sources = gguf_sources(source);
  uint64_t parameters = 0;
  for (const GgufSource& entry : sources)
    parameters += static_cast<uint64_t>(entry.tensor.rows() * entry.tensor.columns());
  GgufMetadata metadata = model_metadata(source.folder, config, mix, parameters);
  add_vocabulary(source.folder, config.vocabulary, metadata);

  const MixModel shape{.architecture = find_gguf_architecture(config.architecture)->name,
                       .layers = config.layers,
                       .heads = config.heads,
                       .kv_heads = config.kv_heads,
                       .tied_head = config.tied_head};
  const bool trained_file = source.codes && holds_trained_codes(*source.codes, mix);
  if (source.codes && !trained_file)
    log_warning(concat("gguf:", variant, ": the weights were trained for ", source.codes->target,
                       "; this is a new quantisation of them"));
  std::vector<GgufTensor> tensors;
  std::map<std::string, const GgufSource*> by_name;
  for (GgufSource& entry : sources) {
    GgufTensor& tensor = entry.tensor;
    tensor.type = &mixed_type(mix, shape, {}, tensor.name, tensor.rank, tensor.columns());
    if (trained_file) tensor.type = &trained_type(entry, mix, *tensor.type);
    tensors.push_back(tensor);
    by_name[tensor.name] = &entry;
  }
  const GgufLayout layout = plan_gguf(metadata, std::move(tensors));
  const GgufProducer produce = [&](const GgufTensor& tensor, OutputFile& file) {
    const GgufSource& from = *by_name.at(tensor.name);
    if (trained_file && from.trained != nullptr)
      append_blocks(trained_blocks(from), file);
    else
      append_rows(from.value(), *tensor.type, {}, tensor.name, file);
  };
  write_file_durably(path, layout.file_size,
                     [&](OutputFile& file) { append_gguf(file, layout, produce); });
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
  const std::string name = gguf_file_name(source, request.variant);
  write_gguf_file(source, request.variant,
                  (std::filesystem::path(request.directory) / name).string());
}

}  // namespace isogrid
