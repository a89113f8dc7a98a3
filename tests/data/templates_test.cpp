#include <gtest/gtest.h>

#include "core/error.h"
#include "data/templates/chat_template.h"
#include "data/templates/message.h"
#include "data/templates/prompt.h"
#include "data/templates/tools.h"
#include "data/templates/turns.h"

namespace isogrid {
namespace {

constexpr EdgeTokens kEdges{.bos = "<s>", .eos = "</s>"};

Message says(Speaker role, std::string content) {
  return {.role = role, .content = std::move(content), .tool_calls = {}, .trained = {}};
}

std::string prompt(std::string_view name, const std::vector<Message>& messages,
                   const TemplateOptions& options = {}) {
  return render_prompt(chat_template(name), messages, options, kEdges);
}

// One letter per slot: B = bos, E = eos; text in quotes; trained slots in brackets; | ends the
// source, / ends a turn, ^ marks a source whose first token is trained to be eos.
std::string shape(const EncodedTurns& encoded) {
  std::string text;
  const auto add = [&](const std::vector<Slot>& slots) {
    for (const Slot& slot : slots) {
      const std::string inner = slot.kind == Slot::Kind::bos   ? "B"
                                : slot.kind == Slot::Kind::eos ? "E"
                                                               : "'" + slot.text + "'";
      text += slot.trained ? "[" + inner + "]" : inner;
    }
  };
  for (const Turn& turn : encoded.turns) {
    if (turn.source_closes_answer) text += "^";
    add(turn.source);
    text += "|";
    add(turn.target);
    text += "/";
  }
  return text + (encoded.eos_at_end ? "E" : "");
}

std::string turns(std::string_view name, const std::vector<Message>& messages,
                  const TurnOptions& options = {}) {
  return shape(encode_turns(chat_template(name), messages, options));
}

const std::vector<Message> kAsk = {says(Speaker::user, "Hi")};
const std::vector<Message> kTwoTurns = {says(Speaker::user, "a"), says(Speaker::assistant, "b"),
                                        says(Speaker::user, "c"), says(Speaker::assistant, "d")};

TEST(Templates, QwenAlwaysHasASystemBlock) {
  EXPECT_EQ(prompt("qwen", kAsk),
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
            "assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(prompt("qwen3", kAsk), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Templates, ADefaultSystemOfTheUserReplacesTheTemplates) {
  EXPECT_EQ(prompt("qwen", kAsk, {.default_system = "Be brief."}),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(prompt("qwen", kAsk, {.default_system = ""}),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Templates, ThinkingOffClosesAnEmptyBlockInThePrompt) {
  const std::string open = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(prompt("qwen3", kAsk, {.enable_thinking = true}), open);
  EXPECT_EQ(prompt("qwen3", kAsk, {.enable_thinking = false}), open + "<think>\n\n</think>\n\n");
  EXPECT_EQ(prompt("qwen3", kAsk, {.enable_thinking = {}}), open + "<think>\n\n</think>\n\n");
  EXPECT_EQ(prompt("qwen3_nothink", kAsk, {.enable_thinking = false}), open);
}

TEST(Templates, EarlierReasoningIsDroppedFromQwen3Prompts) {
  std::vector<Message> messages = {says(Speaker::user, "a"),
                                   says(Speaker::assistant, "<think>\nhm\n</think>\n\nb"),
                                   says(Speaker::user, "c")};
  EXPECT_EQ(prompt("qwen3", messages),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(prompt("qwen3", messages, {.preserve_thinking = true}),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\nb"
            "<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Templates, ToolResultsShareOneBlock) {
  Message call = says(Speaker::assistant, "");
  call.tool_calls = {{"f", R"({"x":1,"y":"ü"})"}, {"g", "{}"}};
  const std::vector<Message> messages = {says(Speaker::user, "a"), call, says(Speaker::tool, "1"),
                                         says(Speaker::tool, "2")};
  const std::string expected =
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
      "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1, \"y\": \"ü\"}}\n</tool_call>\n"
      "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call><|im_end|>\n"
      "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n"
      "</tool_response><|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(prompt("qwen3_nothink", messages), expected);
}

TEST(Templates, ToolsStandInTheSystemBlock) {
  const std::string tools = R"([{"name":"f","parameters":{"type":"object"}}])";
  const std::string text = prompt("qwen3", kAsk, {.tools = tools});
  EXPECT_TRUE(text.starts_with("<|im_start|>system\n# Tools\n\nYou may call")) << text;
  EXPECT_NE(text.find("\n<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"f\", "
                      "\"parameters\": {\"type\": \"object\"}}}\n</tools>\n"),
            std::string::npos);
  // In training two newlines stay in front although nothing stands before them.
  const std::string slots = turns("qwen3", {kTwoTurns[0], kTwoTurns[1]}, {{.tools = tools}});
  EXPECT_TRUE(slots.starts_with("'<|im_start|>system\n\n\n# Tools")) << slots;
}

TEST(Templates, Llama3StartsWithBosAndTrims) {
  EXPECT_EQ(prompt("llama3", {says(Speaker::user, " Hi\n")}),
            "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(Templates, Llama2PutsTheSystemTextIntoTheFirstQuestion) {
  EXPECT_EQ(prompt("llama2", {says(Speaker::system, "S"), says(Speaker::user, "a"),
                              says(Speaker::assistant, "b"), says(Speaker::user, "c")}),
            "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST] b </s><s>[INST] c [/INST]");
}

TEST(Templates, SmolLm3NamesTheDayAndTheMode) {
  const TemplateOptions options{.enable_thinking = false, .today = Day{2026, 3, 5}};
  const std::string metadata =
      "<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\n"
      "Today Date: 05 March 2026\nReasoning Mode: /no_think\n\n## Custom Instructions\n\n";
  const std::string rest =
      "\n\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n";
  EXPECT_EQ(
      prompt("smollm3", kAsk, options),
      metadata + "You are a helpful AI assistant named SmolLM, trained by Hugging Face." + rest);
  TemplateOptions thinking = options;
  thinking.enable_thinking = true;
  EXPECT_EQ(prompt("smollm3", {says(Speaker::system, "Be brief. /no_think"), kAsk[0]}, thinking),
            metadata + "Be brief." + rest);
  EXPECT_EQ(prompt("smollm3", {says(Speaker::system, "Raw. /system_override"), kAsk[0]}, thinking),
            "<|im_start|>system\nRaw.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(Templates, ZenIsThePlainTextOfItsModelCard) {
  EXPECT_EQ(prompt("zen", {kTwoTurns[0], kTwoTurns[1], kTwoTurns[2]}),
            "User: a\nAssistant: b\nUser: c\nAssistant:");
  EXPECT_EQ(chat_template("zen").stop_string, "\nUser:");
}

TEST(Templates, EmptyAddsNothing) {
  EXPECT_EQ(prompt("empty", {says(Speaker::user, "Once upon")}), "Once upon");
}

TEST(Turns, TheNewlineAfterTheEndMarkIsTrained) {
  EXPECT_EQ(turns("qwen3_nothink", kTwoTurns),
            "'<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n'|['b<|im_end|>\n']/"
            "'<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n'|['d<|im_end|>\n']/");
}

TEST(Turns, TheSystemBlockIsItsOwnSlot) {
  EXPECT_EQ(turns("chatml", {says(Speaker::system, "S"), kTwoTurns[0], kTwoTurns[1]}),
            "'<|im_start|>system\nS<|im_end|>\n'"
            "'<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n'|['b<|im_end|>\n']/");
}

TEST(Turns, TheEmptyThoughtIsTrainedOnlyWhenThinkingIsOn) {
  const std::vector<Message> one = {kTwoTurns[0], kTwoTurns[1]};
  const std::string source = "'<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n'";
  const std::string block = "'<think>\n\n</think>\n\n'";
  const std::string answer = "['b<|im_end|>\n']/";
  EXPECT_EQ(turns("qwen3", one), source + "|[" + block + "]" + answer);
  EXPECT_EQ(turns("qwen3", one, {{.enable_thinking = false}}), source + block + "|" + answer);
  EXPECT_EQ(turns("qwen3", one, {{.enable_thinking = {}}}), source + block + "|" + answer);
}

TEST(Turns, GivenThoughtsAreKeptOrRemoved) {
  const std::vector<Message> one = {kTwoTurns[0],
                                    says(Speaker::assistant, "<think>\nhm\n</think>\n\nb")};
  const std::string source = "'<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n'";
  const std::string kept = source + "|['<think>\nhm\n</think>\n\nb<|im_end|>\n']/";
  EXPECT_EQ(turns("qwen3", one), kept);
  EXPECT_EQ(turns("qwen3", one, {{.enable_thinking = {}}}), kept);
  EXPECT_EQ(turns("qwen3", one, {{.enable_thinking = false}}),
            source + "'<think>\n\n</think>\n\n'|['b<|im_end|>\n']/");
}

TEST(Turns, MaskedHistoryLosesItsReasoningUnlessPreserved) {
  const std::vector<Message> messages = {
      says(Speaker::user, "a"), says(Speaker::assistant, "<think>\nx\n</think>\n\nb"),
      says(Speaker::user, "c"), says(Speaker::assistant, "<think>\ny\n</think>\n\nd")};
  const auto user = [](const std::string& text) {
    return "'<|im_start|>user\n" + text + "<|im_end|>\n<|im_start|>assistant\n'|";
  };
  const std::string last = user("c") + "['<think>\ny\n</think>\n\nd<|im_end|>\n']/";
  TurnOptions options;
  options.mask_history = true;
  EXPECT_EQ(turns("qwen3", messages, options), user("a") + "'b<|im_end|>\n'/" + last);
  options.preserve_thinking = true;
  EXPECT_EQ(turns("qwen3", messages, options),
            user("a") + "'<think>\nx\n</think>\n\nb<|im_end|>\n'/" + last);
}

TEST(Turns, TrainOnPromptAndPerMessageFlags) {
  TurnOptions options;
  options.train_on_prompt = true;
  EXPECT_EQ(turns("empty", {kTwoTurns[0], kTwoTurns[1]}, options), "['a']|['b']/");
  std::vector<Message> messages = kTwoTurns;
  messages[1].trained = false;
  EXPECT_EQ(turns("empty", messages), "'a'|'b'/'c'|['d']/");
}

TEST(Turns, Llama2HasBosBeforeEachQuestionAndEosAfterEachAnswer) {
  std::vector<Message> messages = kTwoTurns;
  messages.insert(messages.begin(), says(Speaker::system, "S"));
  EXPECT_EQ(turns("llama2", messages),
            "B'[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST]'|['b'][E]/B'[INST] c [/INST]'|['d'][E]/");
}

TEST(Turns, Llama3HasOneBos) {
  EXPECT_EQ(turns("llama3", {kTwoTurns[0], kTwoTurns[1]}),
            "B'<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n'|['b<|eot_id|>']/");
}

TEST(Turns, ZenTrainsTheEndOfEachAnswerWithoutWritingIt) {
  EXPECT_EQ(turns("zen", kTwoTurns),
            "'User: a\nAssistant:'|[' b']/^'\nUser: c\nAssistant:'|[' d']/E");
}

TEST(Turns, ToolMessagesAndCallsOfTheDialects) {
  const std::vector<Message> messages = {
      says(Speaker::user, "a"), call_message(R"({"name":"f","arguments":{"x":1}})"),
      says(Speaker::tool, "1"), says(Speaker::tool, "2"), says(Speaker::assistant, "b")};
  EXPECT_EQ(turns("qwen", messages, {{.default_system = ""}}),
            "'<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n'|"
            "['<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>"
            "<|im_end|>\n']/"
            "'<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n"
            "</tool_response><|im_end|>\n<|im_start|>assistant\n'|['b<|im_end|>\n']/");
  const std::vector<Message> one_result = {messages[0], messages[1], messages[2], messages[4]};
  EXPECT_EQ(turns("chatml", one_result),
            "'<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n'|"
            "['Action: f\nAction Input: {\"x\": 1}<|im_end|>\n']/"
            "'<|im_start|>tool\n1<|im_end|>\n<|im_start|>assistant\n'|['b<|im_end|>\n']/");
  EXPECT_EQ(calls_text(ToolDialect::llama3, messages[1].tool_calls, false),
            R"({"name": "f", "parameters": {"x": 1}})");
}

TEST(Turns, RefusesConversationsOutOfOrder) {
  const Message user = says(Speaker::user, "a");
  const Message answer = says(Speaker::assistant, "b");
  for (const std::vector<Message>& messages : {std::vector<Message>{},
                                               {user},
                                               {answer},
                                               {user, user, answer},
                                               {user, answer, answer},
                                               {user, answer, says(Speaker::system, "S"), answer},
                                               {says(Speaker::system, "S")}}) {
    try {
      encode_turns(chat_template("qwen"), messages, {});
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::refused_input);
    }
  }
}

TEST(CallMessages, KeepWhatStandsBeforeTheCall) {
  const Message tagged =
      call_message("Let me see.<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>");
  EXPECT_EQ(tagged.content, "Let me see.");
  EXPECT_EQ(tagged.tool_calls.at(0).name, "f");
  const Message thought =
      call_message("<think>\nhm\n</think>\n\n[{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}]");
  EXPECT_EQ(thought.content, "<think>\nhm\n</think>\n\n");
  EXPECT_EQ(calls_text(ToolDialect::qwen, thought.tool_calls, false),
            "<tool_call>\n{\"name\": \"f\", \"arguments\": \"{\\\"x\\\":1}\"}\n</tool_call>");
  EXPECT_EQ(calls_text(ToolDialect::qwen, thought.tool_calls, true),
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\":1}}\n</tool_call>");
}

TEST(CallMessages, RefuseWhatIsNoCall) {
  for (const char* text : {"", "f(1)", "{}", R"({"name": 1, "arguments": {}})", R"([1])",
                           R"({"name": "f"})", R"({"name": "f", "arguments": {})"}) {
    EXPECT_THROW(call_message(text), Error) << text;
  }
}

TEST(Registry, AnUnknownNameGetsTheListAndTheNearest) {
  try {
    chat_template("qwen3_notink");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::configuration);
    const std::string text = error.what();
    EXPECT_NE(text.find("did you mean qwen3_nothink"), std::string::npos) << text;
    for (const ChatTemplate* layout : chat_templates()) {
      EXPECT_NE(text.find(layout->name), std::string::npos);
    }
  }
}

TEST(Registry, RecognisesCheckpointsByTheirMarks) {
  const auto name = [](std::string_view source) {
    const ChatTemplate* layout = recognise_chat_template(source).layout;
    return layout == nullptr ? std::string_view("none") : layout->name;
  };
  EXPECT_EQ(name("{{'<|im_start|>' + role}}{{'<|im_end|>'}}"), "chatml");
  EXPECT_EQ(name("<|start_header_id|> <|end_header_id|> <|eot_id|>"), "llama3");
  EXPECT_EQ(name("{{bos_token}}[INST] <<SYS>>"), "llama2");
  EXPECT_EQ(name("<|im_start|> <tool_call> enable_thinking '<think>\\n\\n</think>\\n\\n'"),
            "qwen3");
  EXPECT_EQ(name("<|im_start|><|im_end|>assistant\\n<think>\\n"), "none");
  EXPECT_EQ(name("[gMASK]"), "none");
  EXPECT_FALSE(
      recognise_chat_template("<|start_header_id|> <|end_header_id|> <|eot_id|> Today Date")
          .remark.empty());
}

}  // namespace
}  // namespace isogrid
