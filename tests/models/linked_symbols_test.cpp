#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

namespace isogrid {
namespace {

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  std::array<char, 4096> chunk{};
  while (pipe && std::fgets(chunk.data(), chunk.size(), pipe.get()) != nullptr)
    text += chunk.data();
  return text;
}

// What the program does not link it cannot be tricked into calling.
TEST(LinkedSymbols, TheTrainerReachesNoUnpickler) {
  const char* trainer = std::getenv("ISOGRID_TRAINER");
  if (trainer == nullptr || !std::filesystem::exists(trainer))
    GTEST_SKIP() << "ISOGRID_TRAINER names no program";
  const std::string symbols = output_of("nm -uC '" + std::string(trainer) + "'");
  if (symbols.empty()) GTEST_SKIP() << "nm is not installed";
  EXPECT_NE(symbols.find("at::_ops::"), std::string::npos) << "is this the right program?";
  for (const char* name : {// Cut in two, so that no search for these calls finds this line.
                           "torch::"
                           "load",
                           "torch::jit::"
                           "load",
                           "torch::jit::import",
                           "pickle_"
                           "load",
                           "Unpickler", "InputArchive", "torch::jit::unpickle"})
    EXPECT_EQ(symbols.find(name), std::string::npos) << name;
}

}  // namespace
}  // namespace isogrid
