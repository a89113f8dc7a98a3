#include "models/stored_tensor.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>

#include "core/error.h"
#include "core/tensor_file.h"
#include "models/head_order.h"
#include "quant/gguf_weight.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

/// Values one thread decodes at a time.
constexpr int64_t kPortion = 1 << 16;

const grids::BlockCodec& codec_for(const GgufFile& file, const GgufTensor& tensor) {
  if (grids::find_codecs(*tensor.type) != nullptr) return grids::codec_of(*tensor.type);
  std::string known;
  for (const grids::CodecRow& row : grids::codec_rows())
    known += concat(known.empty() ? "" : ", ", row.name);
  fail(ExitCode::refused_input, file.name(), ": tensor '", tensor.name, "': type: came ",
       tensor.type->name, ", allowed are ", known);
}

at::Tensor decoded_blocks(const GgufFile& file, const GgufTensor& tensor) {
  const grids::BlockCodec& codec = codec_for(file, tensor);
  const at::Tensor values = at::empty(tensor.shape(), at::TensorOptions().dtype(at::kFloat));
  const std::byte* from = file.bytes(tensor).data();
  auto* to = values.mutable_data_ptr<float>();
  const int64_t blocks = values.numel() / tensor.type->block;
  at::parallel_for(0, blocks, std::max<int64_t>(kPortion / tensor.type->block, 1),
                   [&](int64_t first, int64_t last) {
                     codec.decode(from + first * tensor.type->bytes, last - first,
                                  to + first * tensor.type->block);
                   });
  return values;
}

at::Tensor viewed(const std::shared_ptr<const GgufFile>& file, const GgufTensor& tensor,
                  at::IntArrayRef shape, at::ScalarType type) {
  // The mapping is private and copy-on-write, so handing out a mutable pointer is honest.
  return at::from_blob(
      const_cast<std::byte*>(file->bytes(tensor).data()), shape, [file](void*) {},
      at::TensorOptions().dtype(type));
}

bool lies_plainly(const WeightLocation& location) {
  return location.blocks->type->name == dtype_name(location.entry->dtype);
}

}  // namespace

at::Tensor stored_tensor(const WeightLocation& location) {
  if (!location.gguf) return view_tensor(location.file, *location.entry);
  const GgufTensor& tensor = *location.blocks;
  const at::Tensor values = lies_plainly(location) ? viewed(location.gguf, tensor, tensor.shape(),
                                                            scalar_type(location.entry->dtype))
                                                   : decoded_blocks(*location.gguf, tensor);
  return location.interleaved_heads == 0 ? values
                                         : halved_heads(values, location.interleaved_heads);
}

std::shared_ptr<WeightSource> stored_blocks(const WeightLocation& location) {
  if (!location.gguf || lies_plainly(location) || location.blocks->rank != 2) return nullptr;
  const GgufTensor& tensor = *location.blocks;
  codec_for(*location.gguf, tensor);
  const int64_t row_bytes = static_cast<int64_t>(tensor.bytes) / tensor.rows();
  return std::make_shared<GgufWeight>(
      *tensor.type, viewed(location.gguf, tensor, {tensor.rows(), row_bytes}, at::kByte),
      tensor.columns(), location.interleaved_heads);
}

}  // namespace isogrid
