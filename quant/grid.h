#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace isogrid {

/// What a file can hold: a row of weights is cut into blocks, and a block is kept as codes and
/// scales. Its record, the bytes below, has all that an exporter writes, so nothing is searched
/// again after training. Every bit is defined: the same weights give the same record and the same
/// decoded values on every processor. All pointers are to one row of `columns` weights.
class Grid {
 public:
  virtual ~Grid() = default;

  virtual std::string_view name() const = 0;
  /// Columns of a block: a row is made of whole ones. 0: a row of any length is one block.
  virtual int64_t block() const = 0;
  virtual int64_t row_bytes(int64_t columns) const = 0;
  /// encode() tries many scales: too slow for every pass, and its choice may jump.
  virtual bool searches() const { return false; }

  /// Scales and codes of a row. `importance`, one weight for each column, shifts the choice where
  /// there is one to make; null: none is known.
  virtual void encode(const float* row, const float* importance, int64_t columns,
                      std::byte* record) const = 0;
  virtual void decode(const std::byte* record, int64_t columns, float* row) const = 0;
  /// decode(encode(row)); `out` is not `row`.
  virtual void round_trip(const float* row, const float* importance, int64_t columns,
                          float* out) const;

  /// New codes under the scales of `record`. Grids that can: recodes().
  virtual bool recodes() const { return false; }
  virtual void recode(const float* row, int64_t columns, std::byte* record) const;

  /// Where a weight is further out than the outermost codes round: below[c] and above[c], under the
  /// scales of `record`. Grids that can: has_limits().
  virtual bool has_limits() const { return false; }
  virtual void limits(const std::byte* record, int64_t columns, float* below, float* above) const;

  /// Scales of a row that a weight is proportional to, which can therefore be learned; 0: none.
  virtual int64_t scales(int64_t columns) const;
  virtual void read_scales(const std::byte* record, int64_t columns, float* scales) const;
  /// Rounded to what is stored.
  virtual void write_scales(const float* scales, int64_t columns, std::byte* record) const;
};

/// One row of the table of grids: "int4_g128", "gguf:q4_0", ...
struct GridRow {
  std::string_view name;
  std::shared_ptr<const Grid> (*make)(std::string_view name);
};
std::span<const GridRow> grid_rows();

/// An unknown name is refused (78) with the list; `key` names the setting.
std::shared_ptr<const Grid> make_grid(const std::string& name, const std::string& key);

}  // namespace isogrid
