// The bodies of a build without CUDA.
#include <stdexcept>

#include "kernels/device.h"
#include "kernels/four_bit.h"
#include "kernels/int8_rows.h"
#include "kernels/packed_groups.h"

namespace isogrid {

std::string device_description() { return "not built in"; }

namespace kernels {
namespace {

[[noreturn]] void refuse_device() {
  throw std::runtime_error("this program was built without its CUDA kernels");
}

}  // namespace

void dequantise_four_bit_on_device(const FourBitTensor&, Element, void*, int64_t, int64_t, void*) {
  refuse_device();
}
void dequantise_int8_rows_on_device(const int8_t*, const float*, Element, void*, int64_t, int64_t,
                                    int64_t, void*) {
  refuse_device();
}
void dequantise_packed_groups_on_device(const PackedGroups&, Element, void*, int64_t, int64_t,
                                        void*) {
  refuse_device();
}

}  // namespace kernels
}  // namespace isogrid
