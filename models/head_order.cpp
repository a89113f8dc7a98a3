#include "models/head_order.h"

#include <vector>

namespace isogrid {

at::Tensor interleaved_heads(const at::Tensor& value, int64_t heads) {
  std::vector<int64_t> shape = value.sizes().vec(), halves{heads, 2, value.size(0) / heads / 2};
  halves.insert(halves.end(), shape.begin() + 1, shape.end());
  return value.reshape(halves).transpose(1, 2).reshape(shape);
}

at::Tensor halved_heads(const at::Tensor& value, int64_t heads) {
  std::vector<int64_t> shape = value.sizes().vec(), pairs{heads, value.size(0) / heads / 2, 2};
  pairs.insert(pairs.end(), shape.begin() + 1, shape.end());
  return value.reshape(pairs).transpose(1, 2).reshape(shape);
}

}  // namespace isogrid
