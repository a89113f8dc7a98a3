#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace isogrid {

/// What stands before and after a text.
struct Wrap {
  std::string_view before;
  std::string_view after;
};

/// How tools are described to the model, and how its calls look.
enum class ToolDialect { react, qwen, llama3 };

/// What a template knows about <think> blocks.
/// qwen3: reasoning of earlier turns is dropped at inference, an empty block says "do not think".
/// smollm3: the system block says /think or /no_think, the empty block goes before each answer.
enum class Thinking { none, qwen3, smollm3 };

/// A calendar day; some templates tell the model today's date.
struct Day {
  int year = 0;
  int month = 0;
  int day = 0;
};

struct TemplateOptions {
  std::optional<bool> enable_thinking = true;  // unset: keep what is there, add nothing to train
  bool preserve_thinking = false;              // keep the reasoning of earlier turns
  std::optional<std::string> default_system = {};  // replaces the template's own
  std::string tools = {};                          // JSON list of functions; empty = none
  std::optional<ToolDialect> tool_dialect = {};    // replaces the template's own
  std::optional<Day> today = {};                   // unset: the local date
};

struct SystemRequest {
  std::string_view text;
  bool given;  // false: the conversation has none, `text` is the default
};

/// One row of the table: a layout as data. A turn of the model is
///   source = user or tool block + `header`      (masked in training)
///   target = answer.before + TEXT + answer.after (trained)
struct ChatTemplate {
  std::string_view name;
  Wrap system;
  Wrap user;
  Wrap tool;                        // around one turn of tool results
  Wrap tool_result;                 // around each result of a turn; results are joined by a newline
  std::string_view header;          // asks for an answer
  Wrap answer;                      // one encoder call in training
  std::optional<Wrap> past_answer;  // where the checkpoint's own template writes history otherwise
  std::string_view separator;       // between an answer and the next turn
  std::string_view default_system;
  std::string_view stop_tokens[2];  // the first one replaces the tokenizer's eos if replaces_eos
  std::string_view stop_string;     // text that ends an answer where no token does
  bool replaces_eos = false;
  bool bos_first = false;            // BOS before the conversation
  bool bos_each_turn = false;        // BOS before every user turn
  bool eos_after_answer = false;     // the eos token closes every answer
  bool eos_at_end = false;           // trained after every answer, written only after the last one
  bool system_in_user = false;       // the system block stands inside the first user block
  bool trims_content = false;        // the checkpoint's template strips white space around texts
  bool groups_tool_results = false;  // consecutive results share one block
  ToolDialect tools = ToolDialect::react;
  Thinking thinking = Thinking::none;
  Wrap thought = {"<think>\n", "\n</think>\n\n"};
  /// Composes the text inside the system block where it is more than the user's words.
  std::string (*compose_system)(const SystemRequest&, const TemplateOptions&) = nullptr;
};

/// All templates, in the order in which they are listed to the user.
std::span<const ChatTemplate* const> chat_templates();

/// The template of this name; an unknown name is refused with the list and the nearest one.
const ChatTemplate& chat_template(std::string_view name);

/// `layout` is null when a checkpoint's own chat template is none of ours. `remark`: how the two
/// differ, for the user to read; usually empty.
struct RecognisedTemplate {
  const ChatTemplate* layout = nullptr;
  std::string_view remark;
};

/// The template that a checkpoint's chat template (Jinja source) stands for, told by the marks it
/// contains. Nothing of the source is executed.
RecognisedTemplate recognise_chat_template(std::string_view jinja_source);

Day local_day();

}  // namespace isogrid
