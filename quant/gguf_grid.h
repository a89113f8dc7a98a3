#pragma once
#include "core/gguf_types.h"
#include "quant/grid.h"

namespace isogrid {

/// The blocks of a GGUF tensor: a record is the row as the file holds it, byte for byte.
class GgufGrid final : public Grid {
 public:
  explicit GgufGrid(const GgufType& type);

  const GgufType& type() const { return type_; }

  std::string_view name() const override { return name_; }
  int64_t block() const override { return type_.block; }
  int64_t row_bytes(int64_t columns) const override;
  bool searches() const override;
  void encode(const float* row, const float* importance, int64_t columns,
              std::byte* record) const override;
  void decode(const std::byte* record, int64_t columns, float* row) const override;
  void round_trip(const float* row, const float* importance, int64_t columns,
                  float* out) const override;
  bool recodes() const override;
  void recode(const float* row, int64_t columns, std::byte* record) const override;
  bool has_limits() const override;
  void limits(const std::byte* record, int64_t columns, float* below, float* above) const override;
  int64_t scales(int64_t columns) const override;
  void read_scales(const std::byte* record, int64_t columns, float* scales) const override;
  void write_scales(const float* scales, int64_t columns, std::byte* record) const override;

 private:
  const GgufType& type_;
  std::string name_;
};

/// "gguf:q4_0", "gguf:q6_k", ...: one type, whatever a mix of that name would give a tensor.
std::shared_ptr<const Grid> make_gguf_grid(std::string_view name);

/// "Q4_0" -> "gguf:q4_0"
std::string gguf_grid_name(const GgufType& type);

}  // namespace isogrid
