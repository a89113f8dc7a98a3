#pragma once
#include <optional>

#include "export/registry.h"

namespace isogrid {

/// The codes of one weight as a training chose them, where they are whole numbers under a scale
/// for each group of columns and nothing else.
struct TrainedGroups {
  at::Tensor codes;   // int8 [out, in]
  at::Tensor scales;  // float32 [out, groups]
  int64_t group_size = 0;
  bool short_scales = false;  // of eight significant bits: bfloat16 and float16 hold them alike
};
std::optional<TrainedGroups> trained_groups(const TrainedWeight& weight);

/// The size of the groups of four-bit codes that all trained linears of the source have; 0: they
/// have none, or others.
int64_t trained_group_size(ExportSource& source);

/// What a run was trained for, for a format of groups of four bits (gptq:4, awq:4, ct:int4): its
/// very codes, nothing is searched again. Empty where the format cannot hold them, which is said.
std::optional<PackedModel> trained_model(ExportSource& source, const WantedExport& wanted);

}  // namespace isogrid
