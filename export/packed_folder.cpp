#include "export/packed_folder.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <map>

#include "core/error.h"
#include "core/tensor_file.h"
#include "models/folder_writer.h"
#include "quant/bit_stream.h"

namespace isogrid {

FolderTensor folder_tensor(const std::string& name, at::ScalarType type, std::vector<int64_t> shape,
                           std::function<at::Tensor()> value) {
  FolderTensor tensor;
  tensor.entry.name = name;
  tensor.entry.dtype = dtype_of(type);
  tensor.entry.shape = std::move(shape);
  tensor.value = std::move(value);
  return tensor;
}

std::vector<FolderTensor> packed_folder(
    ExportSource& source, const PackedModel& packed,
    const std::function<std::vector<FolderTensor>(const std::string&, const PackedGroupParts&)>&
        packed_tensors) {
  constexpr std::string_view kWeight = ".weight";
  std::vector<FolderTensor> tensors;
  for (const ExportTensor& tensor : export_tensors(source)) {
    if (tensor.name.ends_with(kWeight)) {
      const std::string linear = tensor.name.substr(0, tensor.name.size() - kWeight.size());
      if (const auto found = packed.linears.find(linear); found != packed.linears.end()) {
        for (FolderTensor& part : packed_tensors(linear, found->second))
          tensors.push_back(std::move(part));
        continue;
      }
    }
    const auto changed = packed.changed.find(tensor.name);
    const auto value = changed == packed.changed.end() ? tensor.value : [value = changed->second] {
      return value;
    };
    tensors.push_back(
        folder_tensor(tensor.name, tensor.stored, tensor.shape,
                      [value, type = tensor.stored] { return value().to(at::kCPU, type); }));
  }
  return tensors;
}

void write_quantised_folder(const ExportSource& source, const ExportRequest& request,
                            const std::vector<FolderTensor>& tensors, const Json& quantization,
                            const SafetensorsMetadata& metadata) {
  std::map<std::string, const FolderTensor*> by_name;
  std::vector<TensorEntry> entries;
  for (const FolderTensor& tensor : tensors) {
    entries.push_back(tensor.entry);
    by_name[tensor.entry.name] = &tensor;
  }
  const TensorProducer produce = [&](const TensorEntry& entry, OutputFile& file) {
    const at::Tensor value = by_name.at(entry.name)->value().contiguous();
    if (value.sizes() != at::IntArrayRef(entry.shape) ||
        dtype_of(value.scalar_type()) != entry.dtype)
      fail(ExitCode::internal, entry.name, ": is not what was planned");
    file.append({static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  };
  write_weights(request.directory, std::move(entries), produce,
                static_cast<double>(request.config->export_size), "model", IoCalls::system(),
                metadata);
  Json config = published_config(source);
  config["quantization_config"] = quantization;
  write_model_folder_files(source.folder, config, request.directory);
}

const PackedModel& packed_model(const ExportRequest& request) {
  if (request.packed == nullptr)
    fail(ExitCode::internal, "export_formats: ", request.format, ": nothing was calibrated for it");
  return *request.packed;
}

at::Tensor packed_words(const at::Tensor& codes, int bits) {
  const at::Tensor from = codes.contiguous();
  const int64_t rows = from.size(0), columns = from.size(1);
  at::Tensor words = at::zeros({rows, (columns * bits + 31) / 32}, at::kInt);
  for (int64_t row = 0; row < rows; ++row) {
    int32_t* to = words.mutable_data_ptr<int32_t>() + row * words.size(1);
    const uint8_t* code = from.const_data_ptr<uint8_t>() + row * columns;
    for (int64_t k = 0; k < columns; ++k) put_bits(to, k * bits, bits, code[k]);
  }
  return words;
}

at::Tensor zero_points_of(const PackedGroupParts& parts) {
  if (parts.zeros.defined()) return parts.zeros;
  return at::full({parts.outputs, parts.groups()}, parts.zero, at::kByte);
}

}  // namespace isogrid
