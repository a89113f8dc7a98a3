#pragma once
#include "kernels/integer_grid.h"
#include "quant/grid.h"

namespace isogrid {

/// Groups of whole numbers under one scale each. A record is float32 scales, float32 zeros where
/// the rule has them, then one int8 code for each column.
class IntegerGrid final : public Grid {
 public:
  IntegerGrid(std::string name, kernels::IntegerRule rule) : name_(std::move(name)), rule_(rule) {}

  const kernels::IntegerRule& rule() const { return rule_; }
  int64_t groups(int64_t columns) const;

  /// A record's parts, for exporters.
  struct Parts {
    const float* scales;
    const float* zeros;  // null without zeros
    const int8_t* codes;
  };
  Parts parts(const std::byte* record, int64_t columns) const;

  std::string_view name() const override { return name_; }
  int64_t block() const override { return rule_.group; }
  int64_t row_bytes(int64_t columns) const override;
  void encode(const float* row, const float* importance, int64_t columns,
              std::byte* record) const override;
  void decode(const std::byte* record, int64_t columns, float* row) const override;
  void round_trip(const float* row, const float* importance, int64_t columns,
                  float* out) const override;
  bool recodes() const override { return true; }
  void recode(const float* row, int64_t columns, std::byte* record) const override;
  bool has_limits() const override { return true; }
  void limits(const std::byte* record, int64_t columns, float* below, float* above) const override;
  int64_t scales(int64_t columns) const override;
  void read_scales(const std::byte* record, int64_t columns, float* scales) const override;
  void write_scales(const float* scales, int64_t columns, std::byte* record) const override;

 private:
  std::string name_;
  kernels::IntegerRule rule_;
};

/// The grid of one of the names this file knows.
std::shared_ptr<const Grid> make_integer_grid(std::string_view name);

}  // namespace isogrid
