#include "quant/grid.h"

#include <vector>

#include "core/error.h"
#include "quant/four_bit_grid.h"
#include "quant/gguf_grid.h"
#include "quant/grids/codecs.h"
#include "quant/integer_grid.h"

namespace isogrid {

void Grid::round_trip(const float* row, const float* importance, int64_t columns,
                      float* out) const {
  std::vector<std::byte> record(static_cast<size_t>(row_bytes(columns)));
  encode(row, importance, columns, record.data());
  decode(record.data(), columns, out);
}

void Grid::recode(const float*, int64_t, std::byte*) const {
  fail(ExitCode::internal, name(), ": has no codes under given scales");
}

void Grid::limits(const std::byte*, int64_t, float*, float*) const {
  fail(ExitCode::internal, name(), ": does not know its limits");
}

int64_t Grid::scales(int64_t) const { return 0; }

void Grid::read_scales(const std::byte*, int64_t, float*) const {
  fail(ExitCode::internal, name(), ": has no scales to learn");
}

void Grid::write_scales(const float*, int64_t, std::byte*) const {
  fail(ExitCode::internal, name(), ": has no scales to learn");
}

std::span<const GridRow> grid_rows() {
  static const std::vector<std::string> blocks = [] {
    std::vector<std::string> names;
    for (const grids::CodecRow& row : grids::codec_rows())
      names.push_back(gguf_grid_name(gguf_type(row.name)));
    return names;
  }();
  static const std::vector<GridRow> table = [] {
    std::vector<GridRow> rows = {
        {"int4_g32", make_integer_grid},       {"int4_g64", make_integer_grid},
        {"int4_g128", make_integer_grid},      {"universal_int4", make_integer_grid},
        {"int8", make_integer_grid},           {"torchao:int4wo", make_integer_grid},
        {"torchao:int8wo", make_integer_grid}, {"torchao:8da4w", make_integer_grid},
        {"nf4", make_four_bit_grid},           {"fp4", make_four_bit_grid},
    };
    for (const std::string& name : blocks) rows.push_back({name, make_gguf_grid});
    return rows;
  }();
  return table;
}

std::shared_ptr<const Grid> make_grid(const std::string& name, const std::string& key) {
  std::string known;
  for (const GridRow& row : grid_rows()) {
    if (row.name == name) return row.make(name);
    known += concat(known.empty() ? "" : ", ", row.name);
  }
  fail(ExitCode::configuration, key, ": ", name, ": no grid of that name; allowed are ", known);
}

}  // namespace isogrid
