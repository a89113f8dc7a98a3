#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/round.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "export/packed_folder.h"
#include "export/packed_trained.h"

namespace isogrid {
namespace {

const char* dtype_name(at::ScalarType type) {
  if (type == at::kBFloat16) return "bfloat16";
  return type == at::kHalf ? "float16" : "float32";
}

/// The types torchao computes in; anything else is float32 there.
at::ScalarType torchao_type(at::ScalarType stored) {
  return stored == at::kBFloat16 || stored == at::kHalf ? stored : at::kFloat;
}

/// Symmetric codes of `bits` bits, a scale for each `width` columns: torchao's own arithmetic, in
/// the weight's own type, because its rounding decides codes.
struct SymmetricCodes {
  at::Tensor codes;   // int8 [out, in]
  at::Tensor scales;  // [out, in / width]
};

SymmetricCodes symmetric_codes(const at::Tensor& weight, int bits, int64_t width, double least,
                               at::ScalarType scale_type) {
  const int64_t outputs = weight.size(0), inputs = weight.size(1);
  const int top = (1 << (bits - 1)) - 1, bottom = -top - 1;
  const at::Tensor blocks = weight.reshape({outputs, inputs / width, width});
  const at::Tensor below = blocks.amin(2).clamp_max(0), above = blocks.amax(2).clamp_min(0);
  const at::Tensor scale =
      (at::maximum(below.neg(), above) / ((top - bottom) / 2.0)).clamp_min(least).to(scale_type);
  const at::Tensor steps = at::round(blocks * scale.reciprocal().unsqueeze(2));
  return {steps.clamp(bottom, top).to(at::kChar).reshape({outputs, inputs}), scale};
}

Json typed(const char* type, Json data) { return {{"_type", type}, {"_data", std::move(data)}}; }

Json versioned(const char* type, int version, Json data) {
  return {{"_type", type}, {"_version", version}, {"_data", std::move(data)}};
}

/// One of the three ways to write a weight.
class TorchaoWriter {
 public:
  TorchaoWriter(const std::string& variant, int64_t group_size)
      : int8_(variant != "int4wo"), dynamic_(variant == "int8dq"), group_size_(group_size) {}

  int bits() const { return int8_ ? 8 : 4; }
  int64_t width(int64_t inputs) const { return int8_ ? inputs : group_size_; }
  bool fits(int64_t inputs) const { return inputs > 0 && inputs % width(inputs) == 0; }

  std::vector<FolderTensor> parts(const ExportTensor& tensor) const {
    const at::ScalarType type = torchao_type(tensor.stored);
    const std::string prefix = tensor.name.substr(0, tensor.name.rfind('.')) + "._weight_";
    const int64_t outputs = tensor.shape[0], groups = tensor.shape[1] / width(tensor.shape[1]);
    const auto codes = [*this, tensor] { return quantised(tensor); };
    return {
        folder_tensor(prefix + "qdata", at::kChar, tensor.shape, [codes] { return codes().codes; }),
        folder_tensor(prefix + "scale", int8_ ? at::kFloat : type, {outputs, groups},
                      [codes] { return codes().scales; }),
        folder_tensor(prefix + "zero_point", at::kChar, {outputs, groups}, [outputs, groups] {
          return at::zeros({outputs, groups}, at::kChar);
        })};
  }

  /// What the file's metadata says of a weight, so that torchao makes its tensor of the parts.
  Json description(const ExportTensor& tensor) const {
    Json data;
    if (int8_) {
      data["act_quant_kwargs"] = nullptr;
      if (dynamic_)
        data["act_quant_kwargs"] = typed("QuantizeTensorToInt8Kwargs",
                                         {{"granularity", typed("PerRow", {{"dim", -1}})},
                                          {"mapping_type", typed("MappingType", "SYMMETRIC")},
                                          {"reduce_range", false}});
      data["reduce_range"] = false;
    } else {
      data["target_dtype"] = typed("torch.dtype", "int4");
    }
    data["block_size"] = {1, width(tensor.shape[1])};
    data["dtype"] = typed("torch.dtype", dtype_name(torchao_type(tensor.stored)));
    if (!int8_) data["activation_quantization"] = nullptr;
    return {{"_type", int8_ ? "Int8Tensor" : "IntxUnpackedToInt8Tensor"},
            {"_data", std::move(data)},
            {"_tensor_data_names", {"qdata", "scale", "zero_point"}}};
  }

  Json settings(const std::vector<std::string>& left_dense) const {
    Json skipped = Json::array({"lm_head"});
    for (const std::string& name : left_dense) skipped.push_back(name);
    Json settings;
    settings["quant_method"] = "torchao";
    settings["quant_type"] = {{"default", method()}};
    settings["modules_to_not_convert"] = std::move(skipped);
    settings["include_input_output_embeddings"] = false;
    settings["untie_embedding_weights"] = false;
    return settings;
  }

 private:
  /// Codes a training chose are carried over where this class holds them as they are.
  std::optional<SymmetricCodes> trained(const ExportTensor& tensor) const {
    if (tensor.trained == nullptr) return std::nullopt;
    const std::optional<TrainedGroups> groups = trained_groups(*tensor.trained);
    if (!groups || groups->group_size != width(tensor.shape[1])) return std::nullopt;
    if (int8_) return SymmetricCodes{groups->codes, groups->scales};
    if (!groups->short_scales) return std::nullopt;
    return SymmetricCodes{groups->codes, groups->scales.to(torchao_type(tensor.stored))};
  }

  SymmetricCodes quantised(const ExportTensor& tensor) const {
    if (auto chosen = trained(tensor)) return *chosen;
    const at::Tensor weight = tensor.value().to(at::kCPU, torchao_type(tensor.stored));
    if (!weight.isfinite().all().item<bool>())
      fail(ExitCode::numeric, tensor.name, ": holds values that are not finite; they have no code");
    const int64_t columns = width(weight.size(1));
    if (int8_)
      return symmetric_codes(weight, 8, columns, std::numeric_limits<float>::epsilon(), at::kFloat);
    // The least normal number of the weight's type.
    const double least = weight.scalar_type() == at::kHalf ? 0x1p-14 : 0x1p-126;
    return symmetric_codes(weight, 4, columns, least, weight.scalar_type());
  }

  Json method() const {
    const Json per_row = versioned("PerRow", 1, {{"dim", -1}});
    if (dynamic_)
      return versioned("Int8DynamicActivationInt8WeightConfig", 2,
                       {{"act_mapping_type", typed("MappingType", "SYMMETRIC")},
                        {"granularity", per_row},
                        {"reduce_range", false},
                        {"set_inductor_config", true},
                        {"weight_only_decode", false}});
    if (int8_)
      return versioned(
          "Int8WeightOnlyConfig", 2,
          {{"granularity", per_row}, {"group_size", nullptr}, {"set_inductor_config", true}});
    return versioned(
        "IntxWeightOnlyConfig", 2,
        {{"weight_dtype", typed("torch.dtype", "int4")},
         {"granularity", versioned("PerGroup", 1, {{"group_size", group_size_}})},
         {"mapping_type", typed("MappingType", "SYMMETRIC")},
         {"scale_dtype", nullptr},
         {"intx_packing_format", typed("IntxPackingFormat", "UNPACKED_TO_INT8")},
         {"intx_choose_qparams_algorithm", typed("IntxChooseQParamsAlgorithm", "AFFINE")}});
  }

  bool int8_, dynamic_;
  int64_t group_size_;
};

}  // namespace

void write_torchao(ExportSource& source, const ExportRequest& request) {
  const TorchaoWriter writer(request.variant, request.group_size);
  if (writer.bits() == 8 && request.names_group)
    fail(ExitCode::configuration, "export_formats: torchao:", request.variant, ":g",
         request.group_size, ": its scales are those of whole rows; torchao:int4wo has groups");
  std::set<std::string> linears;
  visit_linears(source.model,
                [&](const std::string& name, Linear&) { linears.insert(name + ".weight"); });
  std::vector<FolderTensor> tensors;
  std::vector<std::string> left_dense;
  SafetensorsMetadata metadata{{"format", "pt"}};
  Json names = Json::array();
  for (const ExportTensor& tensor : export_tensors(source)) {
    names.push_back(tensor.name);
    const bool is_linear = linears.count(tensor.name) != 0;
    if (is_linear && writer.fits(tensor.shape[1])) {
      for (FolderTensor& part : writer.parts(tensor)) tensors.push_back(std::move(part));
      metadata[tensor.name] = writer.description(tensor).dump();
      continue;
    }
    if (is_linear) left_dense.push_back(tensor.name.substr(0, tensor.name.rfind('.')));
    const at::ScalarType type = torchao_type(tensor.stored);
    tensors.push_back(folder_tensor(tensor.name, type, tensor.shape, [value = tensor.value, type] {
      return value().to(at::kCPU, type);
    }));
    metadata[tensor.name] = Json{{"_type", "Tensor"}}.dump();
  }
  metadata["tensor_names"] = names.dump();
  if (!left_dense.empty())
    log_warning(concat("torchao:", request.variant, ": ", left_dense.size(),
                       " linears are no whole groups and stay dense; the first is ",
                       left_dense.front()));
  write_quantised_folder(source, request, tensors, writer.settings(left_dense), metadata);
}

}  // namespace isogrid
