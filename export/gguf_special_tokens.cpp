#include "export/gguf_special_tokens.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/json.h"

namespace isogrid {
namespace {

constexpr uint64_t kMostJson = 16 << 20;

Json json_file(const ModelFolder& folder, const std::string& name) {
  if (!folder.files->has(name)) return Json::object();
  return parse_json(folder.files->read(name, kMostJson), folder.files->shown(name));
}

/// A section of tokenizer.json as a value, for the small ones whose shape is free.
Json section_value(JsonReader reader) {
  switch (reader.peek()) {
    case JsonKind::object: {
      Json object = Json::object();
      reader.begin_object();
      for (std::string_view key; reader.next_key(key);) {
        const std::string name(key);
        const size_t place = reader.place();
        object[name] = section_value(reader.at(place));
        reader.skip();
      }
      return object;
    }
    case JsonKind::array: {
      Json array = Json::array();
      reader.begin_array();
      while (reader.next_element()) {
        array.push_back(section_value(reader.at(reader.place())));
        reader.skip();
      }
      return array;
    }
    case JsonKind::string:
      return std::string(reader.string());
    case JsonKind::boolean:
      return reader.boolean();
    case JsonKind::number: {
      const JsonNumber number = reader.number();
      if (number.kind == JsonNumber::Kind::natural) return number.natural;
      if (number.kind == JsonNumber::Kind::negative) return number.negative;
      return number.real;
    }
    case JsonKind::null:
      break;
  }
  return nullptr;
}

/// The text of a token: written plainly, or as an object with its content.
std::optional<std::string> token_text(const Json& config, const std::string& key) {
  const auto found = config.find(key);
  if (found == config.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string())
    return (*found)["content"].get<std::string>();
  return std::nullopt;
}

/// The id of a SpecialToken in a template's list, "" for a sequence.
std::string special_id(const Json& entry) {
  if (!entry.is_object() || !entry.contains("SpecialToken")) return {};
  const Json& token = entry["SpecialToken"];
  return token.is_object() ? token.value("id", std::string()) : std::string();
}

class SpecialTokenReader {
 public:
  SpecialTokenReader(const ModelFolder& folder, const SectionFields& tokenizer)
      : folder_(folder),
        tokenizer_config_(json_file(folder, "tokenizer_config.json")),
        has_config_(folder.files->has("tokenizer_config.json")) {
    if (tokenizer.has("added_tokens")) added_tokens_ = section_value(tokenizer.at("added_tokens"));
    if (tokenizer.has("post_processor"))
      post_processor_ = section_value(tokenizer.at("post_processor"));
  }

  SpecialTokens read() {
    fall_back("bos_token", "cls_token");
    fall_back("eos_token", "sep_token");
    const Json alone = Json::array({post_processor_});
    const bool many = post_processor_.is_object() && post_processor_.contains("processors");
    for (const Json& step : many ? post_processor_["processors"] : alone)
      if (step.is_object() && step.value("type", std::string()) == "TemplateProcessing")
        read_template(step);
    read_tokenizer_config();
    read_ids(folder_.config);
    find_end_of_text();
    read_chat_templates();
    return std::move(special_);
  }

 private:
  void fall_back(const char* key, const char* other) {
    if (!token_text(tokenizer_config_, key).value_or("").empty()) return;
    if (const auto text = token_text(tokenizer_config_, other)) tokenizer_config_[key] = *text;
  }

  void set_added(const std::string& kind, bool value) {
    for (auto& [name, old] : special_.added)
      if (name == kind) {
        old = value;
        return;
      }
    special_.added.emplace_back(kind, value);
  }

  /// The first token that stands for a kind stays.
  void set_id(const std::string& kind, const Json& id) {
    if (!id.is_number_unsigned()) return;
    for (const auto& entry : special_.ids)
      if (entry.first == kind) return;
    special_.ids.emplace_back(kind, id.get<uint32_t>());
  }

  /// A token around every text is BOS or EOS, whatever the config calls it.
  void read_template(const Json& step) {
    const Json single = step.value("single", Json::array());
    if (!single.is_array() || single.size() < 2) return;
    if (const std::string first = special_id(single.front()); !first.empty()) {
      special_.frames_text = true;
      const auto bos = token_text(tokenizer_config_, "bos_token");
      if (has_config_ && !bos) tokenizer_config_["bos_token"] = first;
      const auto cls = token_text(tokenizer_config_, "cls_token");
      set_added("bos", !has_config_ || first == bos.value_or(first) || first == cls.value_or(""));
    }
    if (const std::string last = special_id(single.back()); !last.empty()) {
      const auto eos = token_text(tokenizer_config_, "eos_token");
      if (has_config_ && eos != last) {
        if (eos) end_of_turn_ = *eos;
        tokenizer_config_["eos_token"] = last;
      }
      set_added("eos", true);
    }
  }

  std::vector<std::string> kinds() const {
    std::vector<std::string> list{"bos", "eos", "unk", "sep", "pad", "cls", "mask"};
    if (end_of_turn_) list.push_back("eot");
    return list;
  }

  void read_tokenizer_config() {
    if (end_of_turn_) tokenizer_config_["eot_token"] = *end_of_turn_;
    for (const std::string& kind : kinds()) {
      const auto add = tokenizer_config_.find("add_" + kind + "_token");
      if (add != tokenizer_config_.end() && add->is_boolean()) set_added(kind, add->get<bool>());
      const auto text = token_text(tokenizer_config_, kind + "_token");
      if (!text) continue;
      for (const Json& token : added_tokens_)
        if (token.is_object() && token.value("content", Json()) == *text) {
          set_id(kind, token.value("id", Json()));
          break;
        }
    }
  }

  void read_ids(const Json& config) {
    for (const std::string& kind : kinds()) {
      const auto id = config.find(kind + "_token_id");
      if (id == config.end()) continue;
      set_id(kind, *id);
    }
  }

  /// Without the key the engine takes id 11 for the end of a text.
  void find_end_of_text() {
    if (folder_.generation_config && folder_.generation_config->contains("eos_token_id")) {
      const Json& ids = (*folder_.generation_config)["eos_token_id"];
      set_id("eos", ids.is_array() && !ids.empty() ? ids.front() : ids);
    }
    for (const char* text : {"<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>"})
      for (const Json& token : added_tokens_)
        if (token.is_object() && token.value("content", Json()) == text)
          set_id("eos", token.value("id", Json()));
  }

  void read_chat_templates() {
    const auto field = tokenizer_config_.find("chat_template");
    if (field == tokenizer_config_.end() || field->is_null() || field->is_string()) {
      special_.chat_template = field != tokenizer_config_.end() && field->is_string()
                                   ? field->get<std::string>()
                                   : folder_.chat_template.value_or("");
      return;
    }
    if (!field->is_array()) return;
    for (const Json& choice : *field) {
      if (!choice.is_object() || !choice.value("template", Json()).is_string()) continue;
      std::string name = choice.value("name", std::string());
      const auto plain = [](unsigned char c) { return c < 0x80 && std::isalnum(c) != 0; };
      std::replace_if(
          name.begin(), name.end(), [&](char c) { return !plain(c); }, '_');
      const std::string text = choice["template"].get<std::string>();
      if (name == "default")
        special_.chat_template = text;
      else if (!name.empty())
        special_.named_templates.emplace_back(name, text);
    }
  }

  const ModelFolder& folder_;
  Json tokenizer_config_;
  bool has_config_;
  Json added_tokens_ = Json::array(), post_processor_;
  std::optional<std::string> end_of_turn_;
  SpecialTokens special_;
};

/// GGUF's spelling of the kinds whose ids it keeps; "cls" has none any more.
std::string id_key(const std::string& kind) {
  std::string name = kind;
  if (kind == "unk") name = "unknown";
  if (kind == "sep") name = "seperator";
  if (kind == "pad") name = "padding";
  return "tokenizer.ggml." + name + "_token_id";
}

}  // namespace

SpecialTokens read_special_tokens(const ModelFolder& folder, const SectionFields& tokenizer) {
  return SpecialTokenReader(folder, tokenizer).read();
}

void add_special_tokens(const SpecialTokens& special, GgufMetadata& metadata) {
  for (const auto& [kind, id] : special.ids)
    if (kind != "cls") metadata.add(id_key(kind), id);
  for (const auto& [kind, value] : special.added)
    if (kind == "bos" || kind == "eos" || kind == "sep")
      metadata.add("tokenizer.ggml.add_" + kind + "_token", value);
  std::vector<std::string> names;
  for (const auto& [name, text] : special.named_templates) {
    metadata.add("tokenizer.chat_template." + name, text);
    names.push_back(name);
  }
  if (!names.empty()) metadata.add("tokenizer.chat_templates", names);
  if (!special.chat_template.empty())
    metadata.add("tokenizer.chat_template", special.chat_template);
}

}  // namespace isogrid
