#include "data/templates/tools.h"

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "data/templates/json_text.h"

namespace isogrid {
namespace {

constexpr std::string_view kShortMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

Json as_function(const Json& tool) {
  if (tool.contains("type") && tool["type"] == "function") return tool;
  Json wrapped;
  wrapped["type"] = "function";
  wrapped["function"] = tool;
  return wrapped;
}

std::string qwen_tools(const Json& tools) {
  std::string text =
      "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
      "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
  for (const Json& tool : tools) text += "\n" + json_text(as_function(tool));
  return text +
         "\n</tools>\n\nFor each function call, return a json object with function name and "
         "arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
         "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
}

std::string llama3_tools(const Json& tools, const Day& today) {
  const std::string date = (today.day < 10 ? "0" : "") + std::to_string(today.day) + " " +
                           std::string(kShortMonths[today.month - 1]) + " " +
                           std::to_string(today.year);
  std::string text = "Cutting Knowledge Date: December 2023\nToday Date: " + date +
                     "\n\nYou have access to the following functions. To call a function, please "
                     "respond with JSON for a function call. Respond in the format {\"name\": "
                     "function name, \"parameters\": dictionary of argument name and its value}. "
                     "Do not use variables.\n\n";
  for (const Json& tool : tools) text += json_text(as_function(tool), 4) + "\n\n";
  return text;
}

/// A member that is an object, else an empty one: descriptions in the wild leave parts out.
Json object_of(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_object() ? object[key]
                                                                               : Json::object();
}

std::string text_of(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string()
             ? object[key].get<std::string>()
             : std::string();
}

std::string react_parameter(const Json& parameters, const std::string& name,
                            const Json& parameter) {
  const Json required = parameters.value("required", Json::array());
  const bool needed = std::find(required.begin(), required.end(), name) != required.end();
  std::string text = "  - " + name + " (" + text_of(parameter, "type") +
                     (needed ? ", required" : "") + "): " + text_of(parameter, "description");
  if (parameter.contains("enum") && !parameter["enum"].empty()) {
    std::string choices;
    for (const Json& choice : parameter["enum"]) {
      if (!choices.empty()) choices += ", ";
      choices += choice.is_string() ? choice.get<std::string>() : json_text(choice);
    }
    text += ", should be one of [" + choices + "]";
  }
  if (parameter.contains("items") && !parameter["items"].empty()) {
    text += ", where each item should be " + text_of(parameter["items"], "type");
  }
  return text + "\n";
}

std::string react_tools(const Json& tools) {
  std::string descriptions;
  std::string names;
  for (const Json& given : tools) {
    const Json tool = object_of(as_function(given), "function");
    const Json parameters = object_of(tool, "parameters");
    std::string arguments;
    const Json properties = object_of(parameters, "properties");
    for (const auto& [name, parameter] : properties.items()) {
      arguments += react_parameter(parameters, name, parameter);
    }
    const std::string name = text_of(tool, "name");
    descriptions += "> Tool Name: " + name + "\nTool Description: " + text_of(tool, "description") +
                    "\nTool Args:\n" + arguments + "\n";
    names += (names.empty() ? "" : ", ") + name;
  }
  return "You have access to the following tools:\n" + descriptions +
         "Use the following format if using a tool:\n```\nAction: tool name (one of [" + names +
         "])\nAction Input: the input to the tool, in a JSON format representing the kwargs "
         "(e.g. ```{\"input\": \"hello world\", \"num_beams\": 5}```)\n```\n";
}

Json parse_tools(std::string_view tools) {
  Json list = parse_json(tools, "tools");
  const bool objects = list.is_array() && std::all_of(list.begin(), list.end(),
                                                      [](const auto& t) { return t.is_object(); });
  if (!objects) {
    fail(ExitCode::refused_input, "tools: ", json_text(list).substr(0, 80),
         "; expected a JSON list of function descriptions");
  }
  return list;
}

std::string llama3_calls(std::span<const ToolCall> calls) {
  Json list = Json::array();
  for (const ToolCall& call : calls) {
    Json entry;
    entry["name"] = call.name;
    entry["parameters"] = parse_json(call.arguments, "arguments of a function call");
    list.push_back(std::move(entry));
  }
  return json_text(list.size() == 1 ? list.front() : list);
}

}  // namespace

std::string tools_section(ToolDialect dialect, std::string_view tools, const Day& today) {
  const Json list = parse_tools(tools);
  if (list.empty()) return {};
  switch (dialect) {
    case ToolDialect::qwen:
      return qwen_tools(list);
    case ToolDialect::llama3:
      return llama3_tools(list, today);
    case ToolDialect::react:
      return react_tools(list);
  }
  return {};
}

std::string calls_text(ToolDialect dialect, std::span<const ToolCall> calls, bool bare_strings) {
  if (dialect == ToolDialect::llama3) return llama3_calls(calls);
  std::string text;
  for (const ToolCall& call : calls) {
    if (!text.empty()) text += "\n";
    const Json value = parse_json(call.arguments, "arguments of a function call");
    const std::string arguments =
        bare_strings && value.is_string() ? value.get<std::string>() : json_text(value);
    if (dialect == ToolDialect::qwen) {
      text += "<tool_call>\n{\"name\": " + json_text(call.name) + ", \"arguments\": " + arguments +
              "}\n</tool_call>";
    } else {
      text += "Action: " + call.name + "\nAction Input: " + arguments;
    }
  }
  return text;
}

ToolDialect tool_dialect(std::string_view name) {
  if (name == "default") return ToolDialect::react;
  if (name == "qwen") return ToolDialect::qwen;
  if (name == "llama3") return ToolDialect::llama3;
  fail(ExitCode::configuration, "tool_format: ", name, "; allowed are default, qwen, llama3");
}

}  // namespace isogrid
