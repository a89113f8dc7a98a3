#include "trainer/memory_plan.h"

#include <ATen/DeviceAccelerator.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "core/format.h"
#include "trainer/loss/next_token_loss.h"

namespace isogrid {
namespace {

/// The program, LibTorch and its thread pools, before a model is opened.
constexpr int64_t kProcess = 190ll << 20;

int64_t block_row(const DecoderConfig& shape) {
  const int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  return 2 * shape.hidden + 2 * q + 2 * kv + 2 * shape.intermediate;
}

/// Of one block while its backward pass runs: gradients of gate, up and their product, of q, k, v,
/// and of the residual.
int64_t backward_row(const DecoderConfig& shape) {
  const int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  return std::max(4 * shape.intermediate + 2 * shape.hidden, 5 * q + 4 * kv + 2 * shape.hidden);
}

/// The chunk of logits, which become their own gradient, and what there is of the head's gradient
/// before it is added.
int64_t logits_workspace(const RunSizes& sizes) {
  const int64_t rows = std::min(loss_rows_per_chunk(sizes.shape.vocabulary, sizes.trains_head),
                                std::max<int64_t>(1, sizes.largest_batch_labels));
  int64_t bytes = rows * sizes.shape.vocabulary * sizes.compute_bytes;
  if (sizes.trains_head) bytes += sizes.head_gradient * sizes.compute_bytes;
  return bytes;
}

int64_t read_number(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : -1;
}

int64_t meminfo_available() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;)
    if (word == "MemAvailable:") {
      int64_t kibibytes = 0;
      file >> kibibytes;
      return kibibytes << 10;
    }
  return std::numeric_limits<int64_t>::max();
}

}  // namespace

int64_t MemoryPlan::total() const {
  return std::accumulate(parts.begin(), parts.end(), int64_t{0},
                         [](int64_t sum, const auto& part) { return sum + part.second; });
}

int64_t held_bytes_per_token(const DecoderConfig& shape, int64_t compute_bytes, bool recomputes) {
  if (recomputes) return shape.layers * shape.hidden * compute_bytes;
  return shape.layers * (block_row(shape) * compute_bytes + 4 * shape.heads);
}

MemoryPlan plan_memory(const RunSizes& s, bool recomputes) {
  MemoryPlan plan;
  plan.recomputes = recomputes;
  const bool own_working = s.compute_bytes != s.master_bytes;
  const int64_t tokens = s.largest_batch;
  int64_t activations = tokens * held_bytes_per_token(s.shape, s.compute_bytes, recomputes);
  if (recomputes) activations += tokens * block_row(s.shape) * s.compute_bytes;
  // The final norm's input and output, the labelled rows and their gradient.
  activations += 4 * tokens * s.shape.hidden * s.compute_bytes;
  plan.parts = {
      {"process", kProcess},
      {"weights",
       (s.parameters - s.trained_in_model - s.quantised) * s.compute_bytes + s.quantised_bytes},
      {"masters", s.trained * (s.master_bytes + (own_working ? s.compute_bytes : 0))},
      {"gradients", s.trained * 4},
      {"optimizer", s.trained * s.optimizer_bytes},
      {"average", s.averages ? s.trained * 4 : 0},
      {"rounding", s.rounding_bytes},
      {"teacher", s.teacher_bytes + s.anchor_bytes},
      {"activations", activations},
      {"workspace",
       std::max(logits_workspace(s),
                (tokens * backward_row(s.shape) + s.largest_quantised) * s.compute_bytes)},
  };
  std::erase_if(plan.parts, [](const auto& part) { return part.second == 0; });
  return plan;
}

MemoryPlan memory_plan_that_fits(const RunConfig& config, const RunSizes& sizes,
                                 int64_t available) {
  const std::string& wish = config.training.gradient_checkpointing;
  const MemoryPlan plain = plan_memory(sizes, /*recomputes=*/false);
  const MemoryPlan saving = plan_memory(sizes, /*recomputes=*/true);
  const MemoryPlan& chosen =
      wish == "true" || (wish == "auto" && plain.total() > available) ? saving : plain;
  if (chosen.total() <= available) return chosen;
  const std::string more = chosen.recomputes ? "" : "gradient_checkpointing: true, ";
  fail(ExitCode::memory, "this run would need ", human_bytes(static_cast<uint64_t>(chosen.total())),
       " of memory, and ", human_bytes(static_cast<uint64_t>(available)),
       " are free. What helps: ", more,
       "a smaller per_device_train_batch_size (with more gradient_accumulation_steps the result is "
       "the same), a smaller cutoff_len, bf16: true",
       config.finetuning.finetuning_type == "lora" ? ""
                                                   : ", optim: adamw_8bit, finetuning_type: lora");
}

int64_t available_memory(at::Device device) {
  if (!device.is_cpu())
    return static_cast<int64_t>(at::accelerator::getMemoryInfo(device.index()).first);
  int64_t available = meminfo_available();
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max");
  const int64_t used = read_number("/sys/fs/cgroup/memory.current");
  if (limit > 0 && used >= 0) available = std::min(available, std::max<int64_t>(0, limit - used));
  return available;
}

}  // namespace isogrid
