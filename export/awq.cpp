#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "core/version.h"
#include "export/packed_folder.h"
#include "quant/group_grid.h"

namespace isogrid {
namespace {

/// Which of eight neighbouring outputs the nibbles of a word hold, from the lowest one on.
constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};

/// uint8 [outputs, rows] -> int32 [rows, outputs / 8].
at::Tensor across_outputs(const at::Tensor& codes) {
  const at::Tensor from = codes.contiguous();
  const int64_t outputs = from.size(0), rows = from.size(1), across = outputs / 8;
  at::Tensor words = at::zeros({rows, across}, at::kInt);
  auto* to = words.mutable_data_ptr<int32_t>();
  for (int64_t c = 0; c < across; ++c)
    for (int place = 0; place < 8; ++place) {
      const uint8_t* code = from.const_data_ptr<uint8_t>() + (8 * c + kAwqOrder[place]) * rows;
      for (int64_t row = 0; row < rows; ++row)
        to[row * across + c] = static_cast<int32_t>(static_cast<uint32_t>(to[row * across + c]) |
                                                    uint32_t{code[row]} << (4 * place));
    }
  return words;
}

std::vector<FolderTensor> awq_tensors(const std::string& name, const PackedGroupParts& parts) {
  const int64_t outputs = parts.outputs, groups = parts.groups();
  return {
      folder_tensor(name + ".qweight", at::kInt, {parts.inputs, outputs / 8},
                    [&parts] { return across_outputs(unpacked_codes(parts)); }),
      folder_tensor(name + ".qzeros", at::kInt, {groups, outputs / 8},
                    [&parts] { return across_outputs(zero_points_of(parts)); }),
      folder_tensor(name + ".scales", at::kHalf, {groups, outputs},
                    [&parts] { return parts.scales.t().contiguous(); }),
  };
}

}  // namespace

bool fits_awq(int64_t outputs, int64_t inputs, int64_t group_size) {
  return outputs % 8 == 0 && inputs % group_size == 0;
}

void write_awq(ExportSource& source, const ExportRequest& request) {
  const PackedModel& packed = packed_model(request);
  Json settings;
  settings["quant_method"] = "awq";
  settings["bits"] = 4;
  settings["group_size"] = request.group_size;
  settings["zero_point"] = true;
  settings["version"] = "gemm";
  settings["modules_to_not_convert"] = nullptr;
  if (!packed.left_dense.empty()) settings["modules_to_not_convert"] = packed.left_dense;
  settings["meta"] = {
      {"quantizer", Json::array({concat("isogrid:", program_version())})},
      {"calibration", packed.text.empty() ? "none: the codes of the training" : packed.text}};
  write_quantised_folder(source, request, packed_folder(source, packed, awq_tensors), settings);
}

}  // namespace isogrid
