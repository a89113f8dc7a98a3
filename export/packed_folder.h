#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/safetensors_writer.h"
#include "export/registry.h"

namespace isogrid {

/// One tensor of a folder; its value is made when it is written, and made only then.
struct FolderTensor {
  TensorEntry entry;
  std::function<at::Tensor()> value;
};

FolderTensor folder_tensor(const std::string& name, at::ScalarType type, std::vector<int64_t> shape,
                           std::function<at::Tensor()> value);

/// The model's tensors in their stored types; the weights of packed linears are left to
/// `packed_tensors`, which is asked for what stands in their place.
std::vector<FolderTensor> packed_folder(
    ExportSource& source, const PackedModel& packed,
    const std::function<std::vector<FolderTensor>(const std::string& linear,
                                                  const PackedGroupParts& parts)>& packed_tensors);

/// Weights, config.json with `quantization` in it, and the files beside them.
void write_quantised_folder(const ExportSource& source, const ExportRequest& request,
                            const std::vector<FolderTensor>& tensors, const Json& quantization,
                            const SafetensorsMetadata& metadata = {{"format", "pt"}});

/// What calibration made for this request; its absence is our own mistake (70).
const PackedModel& packed_model(const ExportRequest& request);

/// int32 [..., words]: codes uint8 [rows, columns] as streams of `bits` along the columns.
at::Tensor packed_words(const at::Tensor& codes, int bits);

/// Zero points uint8 [outputs, groups] of the parts, whichever way they are kept.
at::Tensor zero_points_of(const PackedGroupParts& parts);

}  // namespace isogrid
