#pragma once
#include "kernels/four_bit.h"
#include "quant/grid.h"

namespace isogrid {

/// NF4 and FP4 as bitsandbytes has them: blocks of 64, each with the largest of its magnitudes as
/// the scale of sixteen fixed values. A record is float32 scales, then two codes to a byte.
class FourBitGrid final : public Grid {
 public:
  explicit FourBitGrid(kernels::FourBitCode code) : code_(code) {}

  static constexpr int64_t kBlock = 64;
  kernels::FourBitCode code() const { return code_; }

  std::string_view name() const override {
    return code_ == kernels::FourBitCode::nf4 ? "nf4" : "fp4";
  }
  int64_t block() const override { return kBlock; }
  int64_t row_bytes(int64_t columns) const override { return columns / kBlock * 4 + columns / 2; }
  void encode(const float* row, const float* importance, int64_t columns,
              std::byte* record) const override;
  void decode(const std::byte* record, int64_t columns, float* row) const override;
  bool recodes() const override { return true; }
  void recode(const float* row, int64_t columns, std::byte* record) const override;
  bool has_limits() const override { return true; }
  void limits(const std::byte* record, int64_t columns, float* below, float* above) const override;
  int64_t scales(int64_t columns) const override { return columns / kBlock; }
  void read_scales(const std::byte* record, int64_t columns, float* scales) const override;
  void write_scales(const float* scales, int64_t columns, std::byte* record) const override;

 private:
  kernels::FourBitCode code_;
};

std::shared_ptr<const Grid> make_four_bit_grid(std::string_view name);

}  // namespace isogrid
