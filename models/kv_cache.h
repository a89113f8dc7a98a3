#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "models/decoder_config.h"

namespace isogrid {

/// Rotated keys and the values of what each sequence has said so far, per layer.
/// Buffers are [capacity, kv_heads, head_dim] and grow by doubling.
class KvCache {
 public:
  KvCache(const DecoderConfig& config, int64_t sequences, at::ScalarType dtype, at::Device device);

  int64_t sequences() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t length(int64_t sequence) const { return lengths_[sequence]; }
  /// Tokens of each of these sequences so far, as TokenLayout::past wants them.
  std::vector<int64_t> lengths(const std::vector<int64_t>& sequences) const;

  /// Appends k, v [n, kv_heads, head_dim] of one layer and returns all keys and values so far.
  /// The length moves only with advance(), when every layer has appended.
  struct Views {
    at::Tensor keys, values;
  };
  Views append(int64_t layer, int64_t sequence, const at::Tensor& keys, const at::Tensor& values);
  void advance(int64_t sequence, int64_t tokens) { lengths_[sequence] += tokens; }
  /// Forgets everything from `length` on.
  void truncate(int64_t sequence, int64_t length);

 private:
  struct Buffers {
    at::Tensor keys, values;
  };
  std::vector<std::vector<Buffers>> layers_;  // [layer][sequence]
  std::vector<int64_t> lengths_;
};

/// The sequences of a cache that a forward pass extends, one per document of its layout.
struct CacheSlots {
  KvCache* cache = nullptr;
  std::vector<int64_t> sequences;
};

}  // namespace isogrid
