// Lets the Python comparisons call what no command of the trainer shows: one JSON request a line
// on stdin, one JSON answer a line on stdout.
#include <iostream>
#include <string>

#include "core/error.h"
#include "core/json.h"
#include "data/templates/message.h"
#include "data/templates/prompt.h"
#include "data/templates/tools.h"
#include "data/templates/turns.h"
#include "models/sampling.h"

namespace isogrid {
namespace {

Speaker role_of(const std::string& name) {
  if (name == "system") return Speaker::system;
  if (name == "user") return Speaker::user;
  if (name == "tool") return Speaker::tool;
  return Speaker::assistant;
}

std::vector<Message> messages_of(const Json& request) {
  std::vector<Message> messages;
  for (const Json& entry : request.at("messages")) {
    if (entry.at("role") == "function") {
      messages.push_back(call_message(entry.at("content").get<std::string>()));
      continue;
    }
    Message message;
    message.role = role_of(entry.at("role").get<std::string>());
    message.content = entry.value("content", std::string());
    for (const Json& call : entry.value("tool_calls", Json::array())) {
      const Json& function = call.at("function");
      message.tool_calls.push_back(
          {function.at("name").get<std::string>(), function.at("arguments").dump()});
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

TurnOptions options_of(const Json& request) {
  TurnOptions options;
  if (request.contains("enable_thinking")) {
    const Json& wanted = request["enable_thinking"];
    options.enable_thinking = wanted.is_null() ? std::optional<bool>() : wanted.get<bool>();
  }
  if (request.contains("default_system")) {
    options.default_system = request["default_system"].get<std::string>();
  }
  if (request.contains("tools")) options.tools = request["tools"].dump();
  if (request.contains("today")) {
    options.today = Day{request["today"][0], request["today"][1], request["today"][2]};
  }
  options.preserve_thinking = request.value("preserve_thinking", false);
  options.mask_history = request.value("mask_history", false);
  options.train_on_prompt = request.value("train_on_prompt", false);
  return options;
}

Json slots_json(const std::vector<Slot>& slots) {
  Json list = Json::array();
  for (const Slot& slot : slots) {
    const char* kind = slot.kind == Slot::Kind::bos   ? "bos"
                       : slot.kind == Slot::Kind::eos ? "eos"
                                                      : "text";
    list.push_back({{kind, slot.text}, {"trained", slot.trained}});
  }
  return list;
}

Json turns_json(const EncodedTurns& encoded) {
  Json list = Json::array();
  for (const Turn& turn : encoded.turns) {
    list.push_back({{"source", slots_json(turn.source)},
                    {"target", slots_json(turn.target)},
                    {"source_closes_answer", turn.source_closes_answer}});
  }
  return {{"turns", std::move(list)}, {"eos_at_end", encoded.eos_at_end}};
}

Json distribution_json(const Json& request) {
  std::vector<float> logits = request.at("logits").get<std::vector<float>>();
  const auto history = request.value("history", std::vector<int32_t>());
  SamplingSettings settings;
  settings.temperature = request.value("temperature", settings.temperature);
  settings.top_k = request.value("top_k", settings.top_k);
  settings.top_p = request.value("top_p", settings.top_p);
  settings.min_p = request.value("min_p", settings.min_p);
  apply_repetition_penalty(logits, history, request.value("repetition_penalty", 1.0));
  Json answer = {{"greedy", most_likely(logits)}, {"ids", Json::array()}, {"p", Json::array()}};
  for (const auto& [id, probability] : sampling_distribution(logits, settings)) {
    answer["ids"].push_back(id);
    answer["p"].push_back(probability);
  }
  return answer;
}

Json answer_to(const Json& request) {
  const auto wanted = request.at("op").get<std::string>();
  if (wanted == "distribution") return distribution_json(request);
  if (wanted == "recognise") {
    const ChatTemplate* layout =
        recognise_chat_template(request.at("source").get<std::string>()).layout;
    return layout == nullptr ? Json() : Json(std::string(layout->name));
  }
  const ChatTemplate& layout = chat_template(request.at("template").get<std::string>());
  const TurnOptions options = options_of(request);
  if (wanted == "turns") return turns_json(encode_turns(layout, messages_of(request), options));
  const std::string bos = request.value("bos", std::string());
  const std::string eos = request.value("eos", std::string());
  return render_prompt(layout, messages_of(request), options, {.bos = bos, .eos = eos});
}

}  // namespace
}  // namespace isogrid

int main() {
  const isogrid::JsonLimits limits{.max_bytes = 64 << 20, .max_depth = 64};
  for (std::string line; std::getline(std::cin, line);) {
    isogrid::Json answer;
    try {
      answer["answer"] = isogrid::answer_to(isogrid::parse_json(line, "request", limits));
    } catch (const isogrid::Error& error) {
      answer["error"] = error.what();
      answer["code"] = static_cast<int>(error.code());
    }
    std::cout << answer.dump() << std::endl;
  }
}
