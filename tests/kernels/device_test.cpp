#include "kernels/device.h"

#include <gtest/gtest.h>

namespace isogrid {
namespace {

TEST(Device, IsDescribedInOneLine) {
  const std::string text = device_description();
#ifdef ISOGRID_WITH_CUDA
  EXPECT_EQ(text.rfind("CUDA 1", 0), 0u) << text;
#else
  EXPECT_EQ(text, "not built in");
#endif
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

}  // namespace
}  // namespace isogrid
