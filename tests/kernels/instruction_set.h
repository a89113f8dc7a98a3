#pragma once
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/cpu_features.h"

namespace isogrid::kernels {

/// A test of one table of kernels; skipped where the processor lacks the instructions.
class InstructionSetTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > best_isa()) GTEST_SKIP() << "this processor lacks the instruction set";
  }

  std::vector<float> random(size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(engine_);
    return values;
  }

  std::mt19937 engine_{11};
};

inline const auto kEveryIsa =
    testing::Values(Isa::baseline, Isa::avx2, Isa::avx512, Isa::avx512bf16);

}  // namespace isogrid::kernels
