#include "core/error.h"

#include <gtest/gtest.h>

namespace isogrid {
namespace {

TEST(Error, CarriesItsExitCodeAndText) {
  try {
    fail(ExitCode::configuration, "lora_rank = ", 0, ": allowed are 1 and more");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::configuration);
    EXPECT_STREQ(error.what(), "lora_rank = 0: allowed are 1 and more");
  }
}

}  // namespace
}  // namespace isogrid
