#include <ATen/ops/empty.h>

#include "export/packed_folder.h"

namespace isogrid {
namespace {

at::Tensor weight_shape(const PackedGroupParts& parts) {
  at::Tensor shape = at::empty({2}, at::kLong);
  shape.mutable_data_ptr<int64_t>()[0] = parts.outputs;
  shape.mutable_data_ptr<int64_t>()[1] = parts.inputs;
  return shape;
}

std::vector<FolderTensor> compressed(const std::string& name, const PackedGroupParts& parts) {
  const int64_t words = (parts.inputs * parts.bits + 31) / 32;
  return {
      folder_tensor(name + ".weight_packed", at::kInt, {parts.outputs, words},
                    [&parts] { return parts.codes.view(at::kInt); }),
      folder_tensor(name + ".weight_scale", parts.scales.scalar_type(),
                    {parts.outputs, parts.groups()}, [&parts] { return parts.scales; }),
      folder_tensor(name + ".weight_shape", at::kLong, {2},
                    [&parts] { return weight_shape(parts); }),
  };
}

Json weight_scheme(const ExportRequest& request) {
  Json weights;
  weights["num_bits"] = 4;
  weights["type"] = "int";
  weights["symmetric"] = true;
  weights["strategy"] = "group";
  weights["group_size"] = request.group_size;
  weights["dynamic"] = false;
  weights["actorder"] = nullptr;
  weights["block_structure"] = nullptr;
  weights["observer"] = "minmax";
  weights["observer_kwargs"] = Json::object();
  return weights;
}

}  // namespace

bool fits_compressed_tensors(int64_t inputs, int64_t group_size) {
  return inputs % group_size == 0;
}

void write_compressed_tensors(ExportSource& source, const ExportRequest& request) {
  const PackedModel& packed = packed_model(request);
  Json ignored = Json::array({"lm_head"});
  for (const std::string& name : packed.left_dense) ignored.push_back(name);
  Json group;
  group["targets"] = Json::array({"Linear"});
  group["weights"] = weight_scheme(request);
  group["input_activations"] = nullptr;
  group["output_activations"] = nullptr;
  group["format"] = "pack-quantized";
  Json settings;
  settings["quant_method"] = "compressed-tensors";
  settings["format"] = "pack-quantized";
  settings["quantization_status"] = "compressed";
  settings["global_compression_ratio"] = nullptr;
  settings["kv_cache_scheme"] = nullptr;
  settings["ignore"] = std::move(ignored);
  settings["config_groups"]["group_0"] = std::move(group);
  write_quantised_folder(source, request, packed_folder(source, packed, compressed), settings);
}

}  // namespace isogrid
