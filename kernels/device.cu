#include "kernels/device.h"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace isogrid {

std::string device_description() {
  int version = 0;
  cudaRuntimeGetVersion(&version);
  std::string text =
      "CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);

  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return text + ", no device: " + cudaGetErrorString(status);
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) continue;
    text += std::string(", ") + properties.name + " (sm_" + std::to_string(properties.major) +
            std::to_string(properties.minor) + ", " +
            std::to_string(properties.totalGlobalMem >> 30) + " GiB)";
  }
  return text;
}

}  // namespace isogrid
