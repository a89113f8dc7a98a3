#include "trainer/work.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <chrono>

namespace isogrid {

WorkPerToken work_of(CausalLm& model) {
  WorkPerToken work;
  visit_linears(model, [&](const std::string&, Linear& linear) {
    const double size = static_cast<double>(linear.weight->outputs()) *
                        static_cast<double>(linear.weight->inputs());
    work.blocks += size * (linear.weight->trains() || linear.rounds_sum ? 6 : 4);
    if (!adds_adapter(linear)) return;
    work.blocks += 6.0 * static_cast<double>(linear.adapter->a.numel() + linear.adapter->b.numel());
  });
  const auto head =
      static_cast<double>(model.head->outputs()) * static_cast<double>(model.head->inputs());
  work.head = head * (model.head->trains() ? 6 : 4);
  for (const Block& block : model.blocks)
    work.attention_per_pair +=
        3.5 * 4.0 * static_cast<double>(block.attention.heads * block.attention.head_dim);
  return work;
}

double work_of_batch(const WorkPerToken& work, const Batch& batch) {
  double pairs = 0;
  int64_t begin = 0;
  for (const int64_t end : batch.document_ends) {
    const auto length = static_cast<double>(end - begin);
    pairs += length * (length + 1) / 2;
    begin = end;
  }
  return work.blocks * static_cast<double>(batch.tokens()) +
         work.head * static_cast<double>(batch.label_rows.size()) + work.attention_per_pair * pairs;
}

double measured_roof(at::ScalarType type, at::Device device) {
  if (!device.is_cpu()) return 0;  // a launch returns before the work is done
  const at::NoGradGuard no_grad;
  constexpr int64_t kSize = 1024;
  const at::Tensor a = at::randn({kSize, kSize}).to(type), b = at::randn({kSize, kSize}).to(type);
  double best = 0, spent = 0;
  for (int round = 0; round < 12 && spent < 0.15; ++round) {
    const auto start = std::chrono::steady_clock::now();
    static_cast<void>(at::mm(a, b.t()));
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    spent += seconds;
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds);
  }
  return best;
}

}  // namespace isogrid
