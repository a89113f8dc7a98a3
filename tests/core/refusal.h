#pragma once
#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace isogrid {

/// Runs `action` and expects an Error with this exit code whose text contains `part`.
template <typename Action>
void expect_refusal(Action action, ExitCode code, const std::string& part) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
        << "'" << error.what() << "' does not mention '" << part << "'";
    return;
  }
  ADD_FAILURE() << "nothing was refused; expected '" << part << "'";
}

}  // namespace isogrid
