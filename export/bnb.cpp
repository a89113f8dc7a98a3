#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/tensor_file.h"
#include "export/registry.h"
#include "models/folder_writer.h"
#include "quant/bnb4.h"
#include "quant/four_bit_grid.h"
#include "quant/int8_rows.h"

namespace isogrid {
namespace {

const char* torch_name(at::ScalarType type) {
  if (type == at::kBFloat16) return "bfloat16";
  return type == at::kHalf ? "float16" : "float32";
}

/// The shortest text that reads back as the same double.
std::string shortest(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// The JSON beside a weight, with the spaces Python's writer leaves.
at::Tensor quant_state(const Bnb4Parts& parts, const char* code, at::ScalarType stored) {
  std::string json =
      concat(R"({"quant_type": ")", code, R"(", "blocksize": )", parts.block, R"(, "dtype": ")",
             torch_name(stored), R"(", "shape": [)", parts.outputs, ", ", parts.inputs, "]");
  if (parts.is_nested())
    json += concat(R"(, "nested_blocksize": )", parts.group,
                   R"(, "nested_dtype": "float32", "nested_offset": )", shortest(parts.offset));
  json += "}";
  at::Tensor bytes =
      at::empty({static_cast<int64_t>(json.size())}, at::TensorOptions().dtype(at::kByte));
  std::memcpy(bytes.mutable_data_ptr(), json.data(), json.size());
  return bytes;
}

/// The quantisers know no float64.
at::Tensor dense_value(const ExportTensor& tensor) {
  const at::Tensor value = tensor.value();
  return value.scalar_type() == at::kDouble ? value.to(at::kFloat) : value;
}

/// What a training chose for this very format, row after row as the file has them.
std::optional<Bnb4Parts> trained_parts(const ExportTensor& tensor, kernels::FourBitCode code) {
  const auto* grid =
      tensor.trained ? dynamic_cast<const FourBitGrid*>(tensor.trained->grid.get()) : nullptr;
  if (grid == nullptr || grid->code() != code) return std::nullopt;
  const at::Tensor& records = tensor.trained->records;
  const int64_t columns = tensor.trained->columns, scales = 4 * grid->scales(columns);
  Bnb4Parts parts;
  parts.code = code;
  parts.outputs = records.size(0);
  parts.inputs = columns;
  parts.scales = records.slice(1, 0, scales).contiguous().view({-1}).view(at::kFloat);
  parts.codes = records.slice(1, scales).contiguous().view({-1, 1});
  return parts;
}

std::vector<NamedTensor> four_bit_parts(const ExportTensor& tensor, const ExportRequest& request) {
  const bool is_nf4 = request.variant == "nf4";
  const auto code = is_nf4 ? kernels::FourBitCode::nf4 : kernels::FourBitCode::fp4;
  const auto trained = trained_parts(tensor, code);
  const Bnb4Parts parts =
      trained ? *trained
              : quantise_bnb4(tensor.name, dense_value(tensor), code, request.double_quantization);
  const std::string& name = tensor.name;
  std::vector<NamedTensor> list = {
      {name, parts.codes},
      {name + ".absmax", parts.scales},
      {name + ".quant_map", bnb4_values(code)},
      {concat(name, ".quant_state.bitsandbytes__", request.variant),
       quant_state(parts, request.variant.c_str(), tensor.stored)},
  };
  if (!parts.is_nested()) return list;
  list.push_back({name + ".nested_absmax", parts.group_scales});
  list.push_back({name + ".nested_quant_map", parts.scale_map});
  return list;
}

std::vector<NamedTensor> int8_parts(const ExportTensor& tensor) {
  const auto weight = quantise_int8_rows(tensor.name, dense_value(tensor));
  const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
  // 0: rows one after the other.
  const at::Tensor layout = at::zeros({}, at::TensorOptions().dtype(at::kByte));
  return {{tensor.name, weight->codes()},
          {module + ".SCB", weight->scales()},
          {module + ".weight_format", layout}};
}

std::vector<NamedTensor> parts_of(const ExportTensor& tensor, const ExportRequest& request) {
  return request.variant == "int8" ? int8_parts(tensor) : four_bit_parts(tensor, request);
}

/// quantization_config as transformers writes it; every key is there, as old readers want them.
Json bnb_settings(const ExportRequest& request, const Json& config) {
  const bool is_int8 = request.variant == "int8";
  const char* key = config.contains("dtype") ? "dtype" : "torch_dtype";
  Json settings;
  settings["_load_in_4bit"] = !is_int8;
  settings["_load_in_8bit"] = is_int8;
  settings["bnb_4bit_compute_dtype"] = config.value(key, "float32");
  settings["bnb_4bit_quant_storage"] = "uint8";
  settings["bnb_4bit_quant_type"] = is_int8 ? "nf4" : request.variant;
  settings["bnb_4bit_use_double_quant"] = !is_int8 && request.double_quantization;
  settings["llm_int8_enable_fp32_cpu_offload"] = false;
  settings["llm_int8_has_fp16_weight"] = false;
  settings["llm_int8_skip_modules"] = Json::array({"lm_head"});
  settings["llm_int8_threshold"] = 6.0;
  settings["load_in_4bit"] = !is_int8;
  settings["load_in_8bit"] = is_int8;
  settings["quant_method"] = "bitsandbytes";
  return settings;
}

/// What goes into the files. Statistics are small and kept; codes are made again when they are
/// written, so memory stays at one weight.
struct BnbFiles {
  std::vector<TensorEntry> entries;
  std::map<std::string, at::Tensor> kept;
  std::map<std::string, ExportTensor> written_late;  // codes and what stays dense
  std::set<std::string> linears;
};

TensorEntry entry_of(const std::string& name, at::ScalarType type, at::IntArrayRef shape) {
  TensorEntry entry;
  entry.name = name;
  entry.dtype = dtype_of(type);
  entry.shape = shape.vec();
  return entry;
}

BnbFiles plan_bnb(ExportSource& source, const ExportRequest& request) {
  BnbFiles files;
  visit_linears(source.model,
                [&](const std::string& name, Linear&) { files.linears.insert(name + ".weight"); });
  for (const ExportTensor& tensor : export_tensors(source)) {
    files.written_late[tensor.name] = tensor;
    if (files.linears.count(tensor.name) == 0) {
      files.entries.push_back(entry_of(tensor.name, tensor.stored, tensor.shape));
      continue;
    }
    for (const NamedTensor& part : parts_of(tensor, request)) {
      files.entries.push_back(entry_of(part.name, part.tensor.scalar_type(), part.tensor.sizes()));
      if (part.name != tensor.name) files.kept[part.name] = part.tensor;
    }
  }
  return files;
}

at::Tensor value_of(const BnbFiles& files, const TensorEntry& entry, const ExportRequest& request) {
  const auto kept = files.kept.find(entry.name);
  if (kept != files.kept.end()) return kept->second;
  const ExportTensor& tensor = files.written_late.at(entry.name);
  if (files.linears.count(entry.name) != 0) return parts_of(tensor, request).front().tensor;
  return tensor.value().to(at::kCPU, tensor.stored);
}

}  // namespace

void write_bnb(ExportSource& source, const ExportRequest& asked) {
  ExportRequest request = asked;
  // Quantised once more, the scales would give other weights than those that were trained.
  if (source.codes && source.codes->target == request.variant) request.double_quantization = false;
  const BnbFiles files = plan_bnb(source, request);
  const TensorProducer produce = [&](const TensorEntry& entry, OutputFile& file) {
    const at::Tensor value = value_of(files, entry, request).contiguous();
    file.append({static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  };
  write_weights(request.directory, files.entries, produce,
                static_cast<double>(request.config->export_size));
  Json config = published_config(source);
  config["quantization_config"] = bnb_settings(request, config);
  write_model_folder_files(source.folder, config, request.directory);
}

}  // namespace isogrid
