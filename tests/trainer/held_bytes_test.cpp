#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <malloc.h>

#include <atomic>
#include <cstdlib>

#include "tests/trainer/small_training.h"
#include "trainer/memory_plan.h"

namespace isogrid {
namespace {

using test::small_rows;
using test::small_training;
using test::Trains;

/// An allocator that counts what is alive.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    live += static_cast<int64_t>(malloc_usable_size(data));
    return {data, data, release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return release; }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }

  static inline std::atomic<int64_t> live = 0;

 private:
  static void release(void* data) {
    live -= static_cast<int64_t>(malloc_usable_size(data));
    std::free(data);
  }
};

int64_t bytes_held_by_a_pass(const Training& training, const Batch& batch) {
  static CountingAllocator counting;
  c10::Allocator* usual = c10::GetCPUAllocator();
  c10::SetCPUAllocator(&counting, /*priority=*/100);
  const int64_t before = CountingAllocator::live;
  int64_t held = 0;
  {
    const ForwardPass pass(training.model, batch, training.pass, 1.0);
    held = CountingAllocator::live - before;
  }
  EXPECT_EQ(CountingAllocator::live, before);
  c10::SetCPUAllocator(usual, /*priority=*/100);
  return held;
}

TEST(HeldBytes, PerTokenAreThoseOfTheFormula) {
  ExampleStore store;
  const auto rows = small_rows(store, {{0, 1, 2, 3, 4, 5, 6, 7}});
  Batch once, twice;
  rows->append_row(0, once);
  rows->append_row(0, twice);
  rows->append_row(0, twice);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    for (const bool recomputes : {false, true}) {
      Training training = small_training(Trains::adapters, type);
      training.pass.recompute_blocks = recomputes;
      const DecoderConfig& shape = training.model.config;
      const int64_t width = static_cast<int64_t>(c10::elementSize(type));
      const int64_t more =
          bytes_held_by_a_pass(training, twice) - bytes_held_by_a_pass(training, once);
      // Beside the blocks a token holds what enters the final norm, the labelled rows' gradient,
      // and numbers of its own: angles, keys, labels.
      const int64_t formula =
          once.tokens() * (held_bytes_per_token(shape, width, recomputes) + shape.hidden * width +
                           shape.head_dim * 4 + 8) +
          static_cast<int64_t>(once.label_rows.size()) * (shape.hidden * width + 2 * 8 + 4);
      EXPECT_NEAR(static_cast<double>(more), static_cast<double>(formula),
                  0.03 * static_cast<double>(formula))
          << type << (recomputes ? ", recomputed" : "");
    }
}

}  // namespace
}  // namespace isogrid
