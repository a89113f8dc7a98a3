#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>

#include "core/error.h"
#include "core/version.h"
#include "export/packed_folder.h"

namespace isogrid {
namespace {

/// Files of the first version hold every zero point less one, and readers add it without a carry:
/// where a zero point is 0 only the second version says so.
bool needs_second_version(const PackedModel& packed) {
  for (const auto& [name, parts] : packed.linears) {
    if (!parts.zeros.defined() && parts.zero > 0) continue;
    if (zero_points_of(parts).eq(0).any().item<bool>()) return true;
  }
  return false;
}

/// [groups, words]: streams along the outputs.
at::Tensor stored_zeros(const PackedGroupParts& parts, bool second_version) {
  const at::Tensor zeros = zero_points_of(parts).t();
  return packed_words(second_version ? zeros : zeros.sub(1), parts.bits);
}

at::Tensor group_of_columns(const PackedGroupParts& parts) {
  if (parts.group_of.defined()) return parts.group_of;
  return at::arange(parts.inputs, at::kInt).floor_divide(parts.group_size).to(at::kInt);
}

std::vector<FolderTensor> gptq_tensors(const std::string& name, const PackedGroupParts& parts,
                                       bool second_version) {
  const int64_t outputs = parts.outputs, groups = parts.groups(), bits = parts.bits;
  return {
      folder_tensor(name + ".qweight", at::kInt, {parts.inputs * bits / 32, outputs},
                    [&parts] { return parts.codes.view(at::kInt).t().contiguous(); }),
      folder_tensor(name + ".qzeros", at::kInt, {groups, outputs * bits / 32},
                    [&parts, second_version] { return stored_zeros(parts, second_version); }),
      folder_tensor(name + ".scales", at::kHalf, {groups, outputs},
                    [&parts] { return parts.scales.t().contiguous(); }),
      folder_tensor(name + ".g_idx", at::kInt, {parts.inputs},
                    [&parts] { return group_of_columns(parts); }),
  };
}

/// Linears that stay dense, as the pattern readers look modules up by.
Json dense_exceptions(const PackedModel& packed) {
  Json dynamic = Json::object();
  for (const std::string& name : packed.left_dense) {
    std::string pattern = "-:^";
    for (const char c : name) pattern += c == '.' ? std::string("\\.") : std::string(1, c);
    dynamic[pattern + "$"] = Json::object();
  }
  return dynamic;
}

bool is_scattered(const PackedModel& packed) {
  for (const auto& [name, parts] : packed.linears)
    if (parts.group_of.defined()) return true;
  return false;
}

Json gptq_settings(const PackedModel& packed, const ExportRequest& request, bool second_version) {
  const char* version = second_version ? "gptq_v2" : "gptq";
  Json settings;
  settings["bits"] = std::stoi(request.variant);
  settings["group_size"] = request.group_size;
  settings["desc_act"] = is_scattered(packed);
  settings["sym"] = request.config->export_quantization_symmetric;
  settings["lm_head"] = false;
  settings["quant_method"] = "gptq";
  settings["checkpoint_format"] = version;
  settings["pack_dtype"] = "int32";
  settings["true_sequential"] = true;
  settings["damp_percent"] = request.config->export_quantization_damping;
  if (!packed.left_dense.empty()) settings["dynamic"] = dense_exceptions(packed);
  settings["meta"] = {
      {"quantizer", Json::array({concat("isogrid:", program_version())})},
      {"calibration", packed.text.empty() ? "none: the codes of the training" : packed.text}};
  return settings;
}

}  // namespace

bool fits_gptq(int64_t outputs, int64_t inputs, int bits) {
  return inputs * bits % 32 == 0 && outputs * bits % 32 == 0 && (bits != 3 || inputs % 32 == 0);
}

void write_gptq(ExportSource& source, const ExportRequest& request) {
  const PackedModel& packed = packed_model(request);
  const bool second_version = needs_second_version(packed);
  const auto tensors =
      packed_folder(source, packed, [&](const std::string& name, const PackedGroupParts& parts) {
        return gptq_tensors(name, parts, second_version);
      });
  const Json settings = gptq_settings(packed, request, second_version);
  write_quantised_folder(source, request, tensors, settings);
  write_file_durably(request.directory + "/quantize_config.json", as_bytes(dump_json(settings)));
}

}  // namespace isogrid
