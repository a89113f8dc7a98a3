// The bodies of a build without CUDA.
#include "kernels/device.h"

namespace isogrid {

std::string device_description() { return "not built in"; }

}  // namespace isogrid
