#include "export/registry.h"

#include <gtest/gtest.h>

#include "tests/core/refusal.h"

namespace isogrid {
namespace {

TEST(WantedExport, HasAFormatAVariantAndPerhapsAGroup) {
  const WantedExport plain = wanted_export("gptq:4"), grouped = wanted_export("torchao:int4wo:g64");
  EXPECT_EQ(plain.format->name, "gptq");
  EXPECT_EQ(plain.group_size, 0);
  EXPECT_EQ(plain.folder_name(), "gptq-4");
  EXPECT_EQ(grouped.variant, "int4wo");
  EXPECT_EQ(grouped.group_size, 64);
  EXPECT_EQ(grouped.folder_name(), "torchao-int4wo-g64");
  EXPECT_EQ(wanted_export("gptq:8:rows").group_size, -1);
  EXPECT_EQ(wanted_export("gptq:8:rows").folder_name(), "gptq-8-rows");
  EXPECT_EQ(wanted_export("hf").folder_name(), "hf");
}

TEST(WantedExport, WhatIsNotThereIsRefusedWithWhatIs) {
  for (const char* text : {"gptq", "gptq:5", "gptq:4:g48", "gptq:4:", "gptq:4:g64:g64",
                           "awq:4:rows", "hf:float16:g64", ":g64", "", "gguf:q4_0:g32"})
    expect_refusal([&] { wanted_export(text); }, ExitCode::configuration, "gptq:4");
}

}  // namespace
}  // namespace isogrid
