#include <cstdio>

#include "core/error.h"
#include "core/format.h"
#include "core/json.h"
#include "data/kd_rows.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"
#include "trainer/disk_plan.h"
#include "trainer/memory_plan.h"
#include "trainer/open_model.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

std::string bytes_text(int64_t bytes) { return human_bytes(static_cast<uint64_t>(bytes)); }
std::string count_text(int64_t count) { return with_commas(static_cast<uint64_t>(count)); }

struct FullPlan {
  RunSizes sizes;
  RunPlan plan;
  MemoryPlan memory;
  int64_t available = 0;
  DiskPlan disk;
};

Json plan_json(const FullPlan& p, const DataReport& data) {
  Json parts = Json::object();
  for (const auto& [name, bytes] : p.memory.parts) parts[name] = bytes;
  parts["total"] = p.memory.total();
  parts["available"] = p.available;
  return {
      {"parameters", p.sizes.parameters},
      {"trainable_parameters", p.sizes.trained},
      {"steps", p.plan.total_steps},
      {"steps_per_epoch", p.plan.steps_per_epoch},
      {"tokens_per_epoch", data.train.tokens},
      {"trained_tokens_per_epoch", data.train.label_tokens},
      {"largest_micro_batch_tokens", p.sizes.largest_batch},
      {"recomputes_blocks", p.memory.recomputes},
      {"memory", parts},
      {"disk", {{"checkpoint", p.disk.checkpoint}, {"kept", p.disk.kept}, {"free", p.disk.free}}},
      {"data", report_json(data)}};
}

void print_plan(const FullPlan& p, const DataReport& data) {
  Table table({"", ""});
  table.add({"parameters", count_text(p.sizes.parameters)});
  table.add({"of them trained", count_text(p.sizes.trained)});
  table.add({"steps", count_text(p.plan.total_steps)});
  table.add({"steps per epoch", count_text(p.plan.steps_per_epoch)});
  table.add({"largest micro-batch", count_text(p.sizes.largest_batch) + " tokens"});
  std::fputs(table.text().c_str(), stdout);
  std::printf("\nmemory%s\n", p.memory.recomputes ? " (blocks are recomputed in backward)" : "");
  for (const auto& [name, bytes] : p.memory.parts)
    std::printf("  %-12s %10s\n", name.c_str(), bytes_text(bytes).c_str());
  std::printf("  %-12s %10s\n  %-12s %10s\n", "total", bytes_text(p.memory.total()).c_str(), "free",
              bytes_text(p.available).c_str());
  std::printf("\ndisk\n  %-12s %10s, %lld kept\n  %-12s %10s\n\n", "checkpoint",
              bytes_text(p.disk.checkpoint).c_str(), static_cast<long long>(p.disk.kept), "free",
              bytes_text(p.disk.free).c_str());
  std::fputs(report_text(data).c_str(), stdout);
}

}  // namespace

int run_plan(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  const ModelFolder folder = open_model_folder(model_folder_path(config));
  const DataCoding coding = open_data_coding(config);
  PreparedData data;
  {
    DataProgress progress(config);
    data = prepare_run_data(config, coding.coder, *coding.layout, progress.hooks());
  }
  const BatchStream batches(data.train, make_batch_plan(config));
  FullPlan full;
  full.plan = make_run_plan(config, batches.steps_per_epoch(), !data.eval.empty());
  full.sizes = sizes_before_loading(config, folder, batches, full.plan);
  full.available = available_memory(chosen_device(config));
  full.disk = plan_disk(config, full.sizes, full.plan);
  const std::string& wish = config.training.gradient_checkpointing;
  full.memory = plan_memory(full.sizes, wish == "true");
  if (wish == "auto" && full.memory.total() > full.available)
    full.memory = plan_memory(full.sizes, true);
  if (invocation.options.json)
    std::fputs(dump_json(plan_json(full, data.report)).c_str(), stdout);
  else
    print_plan(full, data.report);
  check_disk(full.disk, config.run.output_dir);
  static_cast<void>(memory_plan_that_fits(config, full.sizes, full.available));
  return 0;
}

}  // namespace isogrid
