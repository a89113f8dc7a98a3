#include "trainer/run_directory/names.h"

#include <gtest/gtest.h>

namespace isogrid {
namespace {

TEST(Names, OnlyPlainNumbersAreCheckpoints) {
  EXPECT_EQ(checkpoint_name(120), "checkpoint-120");
  EXPECT_EQ(checkpoint_step("checkpoint-120"), 120);
  EXPECT_EQ(checkpoint_step("checkpoint-0"), 0);
  EXPECT_EQ(checkpoint_step("checkpoint-9223372036854775807"), INT64_MAX);
  for (const char* name :
       {"checkpoint-", "checkpoint-012", "checkpoint-+1", "checkpoint--1", "checkpoint-1 ",
        "checkpoint-1.damaged-1", "checkpoint-9223372036854775808", "checkpoint-1e3",
        "Checkpoint-1", "checkpoint_1", "xcheckpoint-1", ""})
    EXPECT_FALSE(checkpoint_step(name)) << name;
}

TEST(Names, LeftoversAreOnlyWhatWeMakeOurselves) {
  EXPECT_TRUE(is_leftover(temporary_name("12")));
  EXPECT_TRUE(is_leftover(trash_name("12")));
  EXPECT_TRUE(is_leftover(".run.json.tmp-0123456789abcdef"));
  EXPECT_TRUE(is_leftover(".training_log.csv.tmp-0123456789abcdef"));
  for (const char* name :
       {".tmp-12", ".trash-12", ".tmp-12-0123456789ABCDEF", ".tmp", ".notes.tmp-0123456789abcdef",
        "tmp-12-0123456789abcdef", ".tmp-0123456789abcdef.txt", "-0123456789abcdef", ""})
    EXPECT_FALSE(is_leftover(name)) << name;
}

TEST(Names, EntriesOfARunAreListed) {
  for (const char* name :
       {"run.json", "runs", "trainer_log.jsonl", "vocab.json", "checkpoint-3",
        "checkpoint-3.damaged-1", "checkpoint-3.replaced-12", "model-00001-of-00002.safetensors"})
    EXPECT_TRUE(is_run_entry(name)) << name;
  for (const char* name : {"LOCK", "notes.txt", "checkpoint-best", "checkpoint-3.old",
                           "checkpoint-3.damaged-", "model-1-of-2.safetensors", "run.json.bak"})
    EXPECT_FALSE(is_run_entry(name)) << name;
}

}  // namespace
}  // namespace isogrid
