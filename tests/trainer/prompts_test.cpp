#include "trainer/commands/prompts.h"

#include <gtest/gtest.h>

#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

class PromptsTest : public testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& text) {
    return folder_.write(name, text);
  }
  TemporaryDirectory folder_;
};

TEST_F(PromptsTest, APlainFileHoldsOneTextALine) {
  const auto prompts = read_prompts(file("p.txt", "one\r\n\n\"two\"\n[3]"));
  ASSERT_EQ(prompts.size(), 3u);
  EXPECT_EQ(prompts[0].messages[0].content, "one");
  EXPECT_EQ(prompts[1].messages[0].content, "\"two\"");
  EXPECT_EQ(prompts[2].messages[0].content, "[3]");
}

TEST_F(PromptsTest, JsonHoldsTextsAndConversations) {
  const std::string entries[] = {
      R"("a\nb")", R"({"prompt": "c", "system": "S"})",
      R"({"messages": [{"role": "user", "content": "d"}, {"role": "assistant", "content": "e"},
          {"role": "user", "content": "f"}]})"};
  const auto list =
      read_prompts(file("p.json", "[" + entries[0] + "," + entries[1] + "," + entries[2] + "]"));
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].messages[0].content, "a\nb");
  EXPECT_TRUE(list[0].is_text());
  EXPECT_EQ(list[1].messages[0].role, Speaker::system);
  EXPECT_FALSE(list[1].is_text());
  EXPECT_EQ(list[2].messages.size(), 3u);
  EXPECT_EQ(read_prompts(file("p.jsonl", entries[0] + "\n" + entries[1] + "\n")).size(), 2u);
}

TEST_F(PromptsTest, RefusesWhatIsNoPromptAndSaysWhere) {
  const auto refused = [&](const std::string& name, const std::string& text,
                           const std::string& part) {
    expect_refusal([&] { read_prompts(file(name, text)); }, ExitCode::refused_input, part);
  };
  refused("p.txt", "\n\n", "holds no prompt");
  refused("p.json", "{}", "list");
  refused("p.json", "[1]", "prompt 1");
  refused("p.jsonl", "\"a\"\n{\"promt\": \"b\"}\n", "p.jsonl:2");
  refused("p.jsonl", R"({"messages": [{"role": "robot", "content": ""}]})", "robot");
  refused("p.jsonl", R"({"messages": []})", "at least one message");
}

}  // namespace
}  // namespace isogrid
