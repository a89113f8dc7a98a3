#include "trainer/fresh_zeros.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <sys/mman.h>

#include "core/phase.h"

namespace isogrid {

at::Tensor fresh_zeros(at::IntArrayRef shape, const at::TensorOptions& options) {
  constexpr size_t kSmallestMapped = 4 << 20;  // two huge pages
  size_t bytes = options.dtype().itemsize();
  for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
  if (!options.device().is_cpu() || bytes < kSmallestMapped) return at::zeros(shape, options);
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw MemoryError(bytes);
  return at::from_blob(
      data, shape, [bytes](void* mapped) { munmap(mapped, bytes); }, options);
}

}  // namespace isogrid
