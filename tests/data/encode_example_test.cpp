#include "data/encode_example.h"

#include <gtest/gtest.h>

#include "tests/core/refusal.h"
#include "tests/data/prepared.h"

namespace isogrid {
namespace {

// B = 10. A target below half of it stays whole and the source gives way; else a source below half
// of it stays whole; else both in proportion.
TEST(Truncation, HasThreeCases) {
  const auto cut = [](int64_t source, int64_t target, int64_t budget) {
    const SideLengths lengths = truncated_lengths(source, target, budget);
    return std::pair(lengths.source, lengths.target);
  };
  EXPECT_EQ(cut(3, 4, 10), std::pair(3L, 4L));
  EXPECT_EQ(cut(20, 4, 10), std::pair(6L, 4L));
  EXPECT_EQ(cut(20, 5, 10), std::pair(8L, 2L));  // 10 * 5/25
  EXPECT_EQ(cut(4, 20, 10), std::pair(4L, 6L));
  EXPECT_EQ(cut(5, 20, 10), std::pair(2L, 8L));
  EXPECT_EQ(cut(30, 30, 9), std::pair(5L, 4L));     // floor(4.5) for the target
  EXPECT_EQ(cut(1000, 5, 10), std::pair(10L, 0L));  // floor(0.0497)
  EXPECT_EQ(cut(0, 0, 1), std::pair(0L, 0L));
}

// What the peer's int(B * (t / (s + t))) gives: 22 * (30 / 44) is 15 but for the last bit.
TEST(Truncation, FollowsDoublesWhereTheyRoundDown) {
  EXPECT_EQ(truncated_lengths(14, 30, 22).target, 14);
  EXPECT_EQ(truncated_lengths(14, 30, 22).source, 8);
}

class Encoding : public testing::Test {
 protected:
  /// The one record of the data, laid out.
  std::string shape(const std::string& record, const std::string& more = "") {
    run.folder.write("d.json", "[" + record + "]");
    run.describe("d.json", more);
    return run.shape_of(0);
  }
  static constexpr const char* kMessages =
      R"("formatting": "openai", "columns": {"messages": "messages", "tools": "tools"})";
  DataRun run;
};

TEST_F(Encoding, AnAnswerIsTrainedWithItsEndAndNewline) {
  EXPECT_EQ(shape(R"({"instruction": "Hi", "input": "", "output": "Yes"})"),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Yes<|im_end|>\n]");
  EXPECT_EQ(shape(R"({"instruction": "Hi", "input": "there", "output": ""})"),
            "<|im_start|>user\nHi\nthere<|im_end|>\n<|im_start|>assistant\n[<|im_end|>\n]");
}

TEST_F(Encoding, HistoryIsTrainedUnlessMasked) {
  const std::string record = R"({"q": "c", "a": "d", "h": [["a", "b"]], "s": "S"})";
  const std::string columns =
      R"("columns": {"prompt": "q", "response": "a", "history": "h", "system": "s"})";
  EXPECT_EQ(
      shape(record, columns),
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
      "[b<|im_end|>\n]<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>\n]");
  run.config.data.mask_history = true;
  EXPECT_EQ(
      shape(record, columns),
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
      "b<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>\n]");
  run.config.data.mask_history = false;
  run.config.data.train_on_prompt = true;
  EXPECT_EQ(shape(record, columns).substr(0, 1), "[");
}

TEST_F(Encoding, ThinkingIsLaidOutAsThePeerDoes) {
  run.config.conversation.chat_template = "qwen3";
  const std::string record = R"({"instruction": "Hi", "input": "", "output": "Yes"})";
  const std::string head = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(shape(record), head + "[<think>\n\n</think>\n\nYes<|im_end|>\n]");
  run.config.conversation.enable_thinking = false;
  EXPECT_EQ(shape(record), head + "<think>\n\n</think>\n\n[Yes<|im_end|>\n]");
  run.config.conversation.enable_thinking.reset();
  EXPECT_EQ(shape(record), head + "<think>\n\n</think>\n\n[Yes<|im_end|>\n]");
}

TEST_F(Encoding, AMessageMayAskToBeTrainedOrNot) {
  EXPECT_EQ(shape(R"({"messages": [{"role": "user", "content": "a"},
                     {"role": "assistant", "content": "b", "weight": 0},
                     {"role": "user", "content": "c", "train": true},
                     {"role": "assistant", "content": "d"}]})",
                  R"("formatting": "openai")"),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
            "[<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\nd<|im_end|>\n]");
}

TEST_F(Encoding, ToolCallsAndResults) {
  EXPECT_EQ(shape(R"({"tools": [{"name": "f"}], "messages": [{"role": "user", "content": "a"},
               {"role": "assistant", "content": "lost", "tool_calls": [
                 {"type": "function", "function": {"name": "f", "arguments": {"x": 1.0}}}]},
               {"role": "tool", "content": "r1"}, {"role": "tool", "content": "r2"},
               {"role": "assistant", "content": "d"}]})",
                  kMessages)
                .substr(0, 25),
            "<|im_start|>system\n\n\n# To");
  const std::string text = run.shape_of(0);
  EXPECT_NE(text.find("assistant\n[<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1.0}}\n"
                      "</tool_call><|im_end|>\n]<|im_start|>user\n<tool_response>\nr1\n"
                      "</tool_response>\n<tool_response>\nr2\n</tool_response><|im_end|>\n"
                      "<|im_start|>assistant\n[d<|im_end|>\n]"),
            std::string::npos)
      << text;
  EXPECT_EQ(run.prepare().report.datasets[0].counts.calls_without_text, 1);
}

TEST_F(Encoding, TruncationCutsFromTheRightAndDropsLaterTurns) {
  run.config.data.cutoff_len = 7;
  // Question 9 tokens (5 of marks), answer 2: the answer stays, the question loses its header.
  const std::string text = shape(R"({"instruction": "1 2", "input": "", "output": ""})");
  EXPECT_EQ(text.substr(text.find('[')), "[<|im_end|>\n]");
  EXPECT_EQ(text.find("assistant"), std::string::npos) << text;
  const EncodeCounts counts = run.prepare().report.datasets[0].counts;
  EXPECT_EQ(counts.truncated_examples, 1);
  EXPECT_EQ(counts.tokens, 7);
  EXPECT_GT(counts.truncated_tokens, 0);
}

TEST_F(Encoding, AnAnswerMayBeClosedByTheNextQuestion) {
  run.config.conversation.chat_template = "zen";
  const std::string record = R"({"conversations": [{"from": "human", "value": "a"},
      {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}, {"from": "gpt", "value": "d"}]})";
  const std::string eos = DataRun::coder().edges.eos;
  const std::string id = std::to_string(*DataRun::coder().tokenizer.id_of(eos));
  EXPECT_EQ(shape(record, R"("formatting": "sharegpt")"),
            "User: a\nAssistant:[ b=" + id + "=\n]User: c\nAssistant:[ d" + eos + "]");
  run.config.data.mask_history = true;
  EXPECT_EQ(shape(record, R"("formatting": "sharegpt")"),
            "User: a\nAssistant: b\nUser: c\nAssistant:[ d" + eos + "]");
}

TEST_F(Encoding, PlainTextEndsWithEos) {
  run.config.finetuning.stage = "pt";
  run.config.conversation.chat_template.reset();
  const std::string eos = DataRun::coder().edges.eos;
  const std::string columns = R"("columns": {"prompt": "text"})";
  EXPECT_EQ(shape(R"({"text": "Hello there"})", columns), "[Hello there" + eos + "]");
  run.config.conversation.chat_template = "qwen";
  EXPECT_EQ(shape(R"({"text": "Hello there"})", columns), "[Hello there<|im_end|>]");
  run.config.data.packing = false;
  run.config.data.cutoff_len = 2;
  EXPECT_EQ(run.prepare().train->input_ids(0).size(), 2u);
}

}  // namespace
}  // namespace isogrid
