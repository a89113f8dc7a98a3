#pragma once
#include <cstdint>
#include <string>

#include "trainer/memory_plan.h"

namespace isogrid {

/// What the checkpoints of a run take.
struct DiskPlan {
  int64_t checkpoint = 0;  // bytes of one
  int64_t kept = 0;        // how many lie there at the end
  int64_t free = 0;        // bytes the folder's file system has left
};
DiskPlan plan_disk(const RunConfig& config, const RunSizes& sizes, const RunPlan& plan);

/// Refuses (74) a run whose first checkpoint could not be written; warns where fewer fit than stay.
void check_disk(const DiskPlan& disk, const std::string& output_dir);

}  // namespace isogrid
