#include "models/kv_cache.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace isogrid {
namespace {

constexpr int64_t kSmallestCapacity = 256;

at::Tensor grown(const at::Tensor& buffer, int64_t used, int64_t needed) {
  const int64_t capacity = std::max(needed, buffer.size(0) * 2);
  at::Tensor larger = at::empty({capacity, buffer.size(1), buffer.size(2)}, buffer.options());
  larger.slice(0, 0, used).copy_(buffer.slice(0, 0, used));
  return larger;
}

}  // namespace

KvCache::KvCache(const DecoderConfig& config, int64_t sequences, at::ScalarType dtype,
                 at::Device device)
    : layers_(config.layers), lengths_(sequences, 0) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  for (auto& layer : layers_)
    for (int64_t i = 0; i < sequences; ++i)
      layer.push_back({at::empty({kSmallestCapacity, config.kv_heads, config.head_dim}, options),
                       at::empty({kSmallestCapacity, config.kv_heads, config.head_dim}, options)});
}

std::vector<int64_t> KvCache::lengths(const std::vector<int64_t>& sequences) const {
  std::vector<int64_t> result;
  for (const int64_t sequence : sequences) result.push_back(lengths_[sequence]);
  return result;
}

KvCache::Views KvCache::append(int64_t layer, int64_t sequence, const at::Tensor& keys,
                               const at::Tensor& values) {
  Buffers& buffers = layers_[layer][sequence];
  const int64_t past = lengths_[sequence], total = past + keys.size(0);
  if (total > buffers.keys.size(0)) {
    buffers.keys = grown(buffers.keys, past, total);
    buffers.values = grown(buffers.values, past, total);
  }
  buffers.keys.slice(0, past, total).copy_(keys);
  buffers.values.slice(0, past, total).copy_(values);
  return {buffers.keys.slice(0, 0, total), buffers.values.slice(0, 0, total)};
}

void KvCache::truncate(int64_t sequence, int64_t length) {
  lengths_[sequence] = std::min(lengths_[sequence], length);
}

}  // namespace isogrid
