#pragma once
#include <string>

namespace isogrid {

/// What CUDA offers this program, in one line for people:
/// "CUDA 13.0, NVIDIA H200 (sm_90, 139 GiB)", "CUDA 13.0, no device: <the driver's reason>",
/// or "not built in".
std::string device_description();

}  // namespace isogrid
