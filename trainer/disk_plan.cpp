#include "trainer/disk_plan.h"

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/format.h"
#include "core/log.h"

namespace isogrid {
namespace {

/// What a checkpoint takes on the disk: the published weights and the state to go on from.
int64_t checkpoint_bytes(const RunConfig& config, const RunSizes& sizes) {
  const bool adapter = config.finetuning.finetuning_type == "lora";
  const int64_t published = adapter ? sizes.trained * 4 : sizes.parameters * sizes.stored_bytes;
  if (config.saving.save_only_model) return published;
  const bool masters_apart =
      sizes.averages || (!adapter && sizes.stored_bytes != sizes.master_bytes);
  const int64_t state = sizes.trained * (sizes.optimizer_bytes + (sizes.averages ? 4 : 0) +
                                         (masters_apart ? sizes.master_bytes : 0));
  return published + state;
}

int64_t checkpoints_kept(const RunConfig& config, const RunPlan& plan) {
  const int64_t saved = plan.save_every > 0 ? plan.total_steps / plan.save_every + 1 : 1;
  if (config.saving.save_strategy == "no") return 0;
  return std::min(saved, config.saving.save_total_limit.value_or(saved));
}

int64_t free_disk(const std::string& output_dir) {
  std::filesystem::path path = std::filesystem::absolute(output_dir);
  while (!std::filesystem::exists(path) && path.has_parent_path()) path = path.parent_path();
  std::error_code error;
  const auto space = std::filesystem::space(path, error);
  return error ? 0 : static_cast<int64_t>(space.available);
}

std::string bytes_text(int64_t bytes) { return human_bytes(static_cast<uint64_t>(bytes)); }

}  // namespace

DiskPlan plan_disk(const RunConfig& config, const RunSizes& sizes, const RunPlan& plan) {
  return {checkpoint_bytes(config, sizes), checkpoints_kept(config, plan),
          free_disk(config.run.output_dir)};
}

void check_disk(const DiskPlan& disk, const std::string& output_dir) {
  if (disk.kept == 0 || disk.free == 0) return;
  if (disk.checkpoint > disk.free)
    fail(ExitCode::io, output_dir, ": a checkpoint takes ", bytes_text(disk.checkpoint), ", and ",
         bytes_text(disk.free),
         " are free; what helps: another output_dir, save_only_model: true, optim: adamw_8bit, "
         "finetuning_type: lora");
  if (disk.checkpoint * disk.kept > disk.free)
    log_warning(concat(output_dir, ": ", disk.kept, " checkpoints of ", bytes_text(disk.checkpoint),
                       " would stay, and ", bytes_text(disk.free),
                       " are free; save_total_limit keeps fewer"));
}

}  // namespace isogrid
