#include <algorithm>
#include <filesystem>
#include <map>

#include <ATen/TensorOperators.h>

#include "core/error.h"
#include "core/gguf_names.h"
#include "core/gguf_writer.h"
#include "export/gguf_metadata.h"
#include "export/gguf_tensors.h"
#include "export/registry.h"
#include "models/head_order.h"

namespace isogrid {
namespace {

using TensorMap = std::map<std::string, at::Tensor>;

/// What the engine cannot lay over a base.
void check_adapter(const ExportSource& source) {
  constexpr const char* kField = "export_formats: gguf:lora: ";
  if (source.adapters.size() != 1)
    fail(ExitCode::configuration, kField, "adapter_name_or_path names ", source.adapters.size(),
         " adapters; one can be written, several only merged into a model (gguf:f16, ...)");
  const PeftFolder& adapter = source.adapters.front();
  if (adapter.spec.dora)
    fail(ExitCode::configuration, kField, adapter.path,
         " is a DoRA adapter, which llama.cpp cannot lay over a model; write it merged "
         "(gguf:f16, ...)");
  if (!source.replaced.empty())
    fail(ExitCode::configuration, kField, adapter.path, " holds ", source.replaced.front(),
         " in full, which llama.cpp cannot put in the place of the base's; write it merged "
         "(gguf:f16, ...)");
}

GgufTensor float_matrix(const std::string& name, const at::Tensor& value) {
  GgufTensor tensor;
  tensor.name = name;
  tensor.rank = 2;
  tensor.dims[0] = value.size(1);
  tensor.dims[1] = value.size(0);
  tensor.type = &gguf_type("F32");
  return tensor;
}

/// A and B of every linear under GGUF's names. The file has one alpha and divides it by each rank;
/// what a linear deviates from that goes into its B.
TensorMap adapter_tensors(ExportSource& source, double alpha) {
  const DecoderConfig& config = source.model.config;
  const GgufArchitecture* architecture = find_gguf_architecture(config.architecture);
  TensorMap tensors;
  visit_linears(source.model, [&](const std::string& module, Linear& linear) {
    if (!linear.adapter) return;
    const auto name = gguf_tensor_name(module + ".weight");
    if (!name) fail(ExitCode::internal, module, ": has no name in GGUF");
    const Adapter& adapter = *linear.adapter;
    const double factor = adapter.scale * static_cast<double>(adapter.rank()) / alpha;
    at::Tensor b = adapter.b.detach().to(at::kFloat);
    if (factor != 1.0) b = b * factor;
    const std::string_view part = gguf_part_of(*name);
    if (architecture->interleaved_heads && is_rotated_part(part))
      b = interleaved_heads(b, part.starts_with("attn_q") ? config.heads : config.kv_heads);
    tensors[*name + ".lora_a"] = adapter.a.detach().to(at::kFloat);
    tensors[*name + ".lora_b"] = b;
  });
  return tensors;
}

}  // namespace

void write_gguf_lora(ExportSource& source, const ExportRequest& request) {
  check_adapter(source);
  const double alpha = source.adapters.front().spec.alpha;
  GgufMetadata metadata = adapter_metadata(source.folder, source.model.config);
  metadata.add("adapter.lora.alpha", static_cast<float>(alpha));
  const TensorMap values = adapter_tensors(source, static_cast<double>(static_cast<float>(alpha)));
  std::vector<GgufTensor> tensors;
  for (const auto& [name, value] : values) tensors.push_back(float_matrix(name, value));
  const GgufLayout layout = plan_gguf(metadata, std::move(tensors));
  const GgufProducer produce = [&](const GgufTensor& tensor, OutputFile& file) {
    append_rows(values.at(tensor.name), *tensor.type, {}, tensor.name, file);
  };
  make_directories(request.directory);
  const std::string path =
      (std::filesystem::path(request.directory) / gguf_file_name(source, request.variant)).string();
  write_file_durably(path, layout.file_size,
                     [&](OutputFile& file) { append_gguf(file, layout, produce); });
  const GgufFile written(path);  // strictly, as a stranger's
}

}  // namespace isogrid
