#include "export/gguf_tensors.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

/// Values that lie in memory at once as blocks, and that one thread takes at a time as floats.
constexpr int64_t kStretch = 1 << 22, kPortion = 1 << 16;

const GgufType& stored_as(at::ScalarType type) {
  return gguf_type(type == at::kHalf ? "F16" : type == at::kBFloat16 ? "BF16" : "F32");
}

/// One stretch of rows on its way into the file.
struct RowEncoder {
  const std::byte* from;
  const GgufType& stored;
  const GgufType& type;
  const float* importance;
  int64_t columns;
  const std::string& name;

  uint64_t row_bytes() const { return *type.row_bytes(static_cast<uint64_t>(columns)); }

  void encode(int64_t first, int64_t last, std::byte* to, std::vector<float>& values) const {
    values.resize(static_cast<size_t>((last - first) * columns));
    grids::codec_of(stored).decode(from + first * columns * stored.bytes, (last - first) * columns,
                                   values.data());
    for (size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]))
        fail(ExitCode::numeric, name, ": row ", first + static_cast<int64_t>(i) / columns,
             ", column ", static_cast<int64_t>(i) % columns, " is ", values[i],
             ", which no quantisation can stand for");
    grids::codec_of(type).encode(values.data(), importance, last - first, columns, to);
    const int64_t per_row = columns / type.block;
    const int64_t broken = grids::first_broken_block(type, to, (last - first) * per_row);
    if (broken >= 0)
      fail(ExitCode::numeric, name, ": row ", first + broken / per_row, ", block ",
           broken % per_row, ": its values are too large for ", type.name,
           ", whose scales are float16 numbers");
  }
};

}  // namespace

void append_rows(const at::Tensor& value, const GgufType& type, std::span<const float> importance,
                 const std::string& name, OutputFile& file) {
  at::Tensor source = value.cpu();
  if (source.scalar_type() == at::kDouble) source = source.to(at::kFloat);
  source = source.contiguous();
  const int64_t columns = source.dim() == 0 ? 1 : source.size(-1);
  const int64_t rows = source.numel() / columns;
  const RowEncoder encoder{static_cast<const std::byte*>(source.const_data_ptr()),
                           stored_as(source.scalar_type()),
                           type,
                           importance.empty() ? nullptr : importance.data(),
                           columns,
                           name};
  const int64_t stretch = std::max<int64_t>(kStretch / columns, 1);
  const int64_t portion = std::max<int64_t>(kPortion / columns, 1);
  std::vector<std::byte> blocks(static_cast<uint64_t>(std::min(stretch, rows)) *
                                encoder.row_bytes());
  for (int64_t first = 0; first < rows; first += stretch) {
    const int64_t last = std::min(first + stretch, rows);
    at::parallel_for(first, last, portion, [&](int64_t begin, int64_t end) {
      std::vector<float> values;
      for (int64_t row = begin; row < end; row += portion)
        encoder.encode(row, std::min(row + portion, end),
                       blocks.data() + static_cast<uint64_t>(row - first) * encoder.row_bytes(),
                       values);
    });
    file.append({blocks.data(), static_cast<uint64_t>(last - first) * encoder.row_bytes()});
  }
}

}  // namespace isogrid
