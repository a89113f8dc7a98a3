#include "models/stored_tensor.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>

#include "core/error.h"
#include "core/tensor_file.h"
#include "models/head_order.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

/// Values one thread decodes at a time.
constexpr int64_t kPortion = 1 << 16;

at::Tensor decoded_blocks(const GgufFile& file, const GgufTensor& tensor) {
  if (grids::find_codecs(*tensor.type) == nullptr)
    fail(ExitCode::refused_input, file.name(), ": tensor '", tensor.name, "': its type ",
         tensor.type->name, " cannot be decoded");
  const grids::BlockCodec& codec = grids::codec_of(*tensor.type);
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
                  Dtype dtype) {
  // The mapping is private and copy-on-write, so handing out a mutable pointer is honest.
  return at::from_blob(
      const_cast<std::byte*>(file->bytes(tensor).data()), tensor.shape(), [file](void*) {},
      at::TensorOptions().dtype(scalar_type(dtype)));
}

}  // namespace

at::Tensor stored_tensor(const WeightLocation& location) {
  if (!location.gguf) return view_tensor(location.file, *location.entry);
  const GgufTensor& tensor = *location.blocks;
  const bool plain = tensor.type->name == dtype_name(location.entry->dtype);
  const at::Tensor values = plain ? viewed(location.gguf, tensor, location.entry->dtype)
                                  : decoded_blocks(*location.gguf, tensor);
  return location.interleaved_heads == 0 ? values
                                         : halved_heads(values, location.interleaved_heads);
}

}  // namespace isogrid
