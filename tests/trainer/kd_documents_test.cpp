#include "trainer/commands/kd_documents.h"

#include <gtest/gtest.h>

#include "tests/core/refusal.h"
#include "tests/data/prepared.h"

namespace isogrid {
namespace {

class KdDocumentsRun : public DataRun {
 public:
  KdDocumentsRun() {
    config.model.model_name_or_path = ISOGRID_SOURCE_DIR "/data/tiny";
    config.conversation.chat_template = "qwen3";
    config.kd.kd_held_out = 0;
    folder.write("d.json", R"([{"instruction": "Hi", "input": "", "output": "Hello"}])");
    describe("d.json");
  }

  /// Each document as text, what is trained in brackets.
  std::vector<std::string> texts() const {
    const KdDocuments documents = prepare_kd_documents(config);
    std::vector<std::string> texts;
    for (const KdDocument words : documents.all) {
      std::string text;
      bool open = false;
      for (const uint32_t word : words) {
        if (TokenWord::has_label(word) != open) text += open ? "]" : "[";
        open = TokenWord::has_label(word);
        const auto id = static_cast<int32_t>(TokenWord::id(word));
        text += coder().tokenizer.decode({&id, 1});
      }
      texts.push_back(text + (open ? "]" : ""));
    }
    return texts;
  }
  std::vector<std::string> rendered(const std::string& wish) {
    config.kd.kd_thinking = wish;
    return texts();
  }
};

const std::string kAsked = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
const std::string kNoThought = "<think>\n\n</think>\n\n";
const std::string kOff = kAsked + kNoThought + "[Hello<|im_end|>\n]";
const std::string kOn = kAsked + "[" + kNoThought + "Hello<|im_end|>\n]";

TEST(KdThinking, RendersEachConversationAsItSays) {
  KdDocumentsRun run;
  using Texts = std::vector<std::string>;
  EXPECT_EQ(run.rendered("false"), Texts{kOff});
  EXPECT_EQ(run.rendered("true"), Texts{kOn});
  EXPECT_EQ(run.rendered("both"), (Texts{kOff, kOn}));
  const Texts plain = run.rendered("none");
  ASSERT_EQ(plain.size(), 1u);
  EXPECT_EQ(plain[0].find("<|im_start|>"), std::string::npos);
  EXPECT_NE(plain[0].find("[Hello"), std::string::npos);
  EXPECT_EQ(run.rendered("all"), (Texts{kOn, kOff, plain[0]}));
}

TEST(KdThinking, LeftOutIsWhatEnableThinkingSays) {
  KdDocumentsRun run;
  run.config.conversation.enable_thinking = false;
  EXPECT_EQ(run.texts(), std::vector<std::string>{kOff});
  run.config.conversation.enable_thinking = true;
  EXPECT_EQ(run.texts(), std::vector<std::string>{kOn});
}

TEST(KdThinking, KeepsTheThoughtsThatStandInTheData) {
  KdDocumentsRun run;
  run.folder.write("d.json", R"([{"instruction": "Hi", "input": "",
                                  "output": "<think>\nGreet.\n</think>\n\nHello"}])");
  EXPECT_EQ(run.rendered("true"),
            std::vector<std::string>{kAsked + "[<think>\nGreet.\n</think>\n\nHello<|im_end|>\n]"});
}

TEST(KdThinking, OfPlainTextIsRefused) {
  KdDocumentsRun run;
  run.config.kd.kd_dataset_format = "plain";
  for (const char* wish : {"false", "true", "both", "all"})
    expect_refusal([&] { run.rendered(wish); }, ExitCode::configuration,
                   concat("kd_thinking = ", wish));
}

TEST(KdDocuments, ToBeAnsweredNeedPrompts) {
  KdDocumentsRun run;
  run.config.kd.kd_generate = true;
  EXPECT_NO_THROW(run.texts());
  run.config.data.train_on_prompt = true;
  expect_refusal([&] { run.texts(); }, ExitCode::configuration, "train_on_prompt");
  run.config.data.train_on_prompt = false;
  run.config.kd.kd_dataset_format = "plain";
  expect_refusal([&] { run.texts(); }, ExitCode::configuration, "no prompt");
}

}  // namespace
}  // namespace isogrid
