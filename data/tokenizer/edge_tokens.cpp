#include "data/tokenizer/edge_tokens.h"

#include "core/json.h"

namespace isogrid {
namespace {

constexpr uint64_t kLargestSettings = 16 << 20;

/// A token written as text or as an object with its text.
std::string token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string())
    return value["content"].get<std::string>();
  return {};
}

Json object_if_there(const InputDirectory& files, const std::string& name) {
  if (!files.has(name)) return Json::object();
  Json json = parse_json(files.read(name, kLargestSettings), files.shown(name));
  const JsonFields must_be_an_object(json, files.shown(name));
  return json;
}

std::string edge_text(const Json& tokenizer_config, const Json& model_config,
                      const Tokenizer& tokenizer, const std::string& name) {
  if (tokenizer_config.contains(name)) return token_text(tokenizer_config[name]);
  const auto id = model_config.find(name + "_id");
  if (id == model_config.end() || !id->is_number_integer()) return {};
  const auto number = id->get<int64_t>();
  return number < 0 || number >= tokenizer.size()
             ? std::string()
             : std::string(tokenizer.token_of(static_cast<int32_t>(number)));
}

}  // namespace

EdgeTexts read_edge_texts(const InputDirectory& files, const Tokenizer& tokenizer) {
  const Json settings = object_if_there(files, "tokenizer_config.json");
  const Json model = object_if_there(files, "config.json");
  const auto add_bos = settings.find("add_bos_token");
  return {.bos = edge_text(settings, model, tokenizer, "bos_token"),
          .eos = edge_text(settings, model, tokenizer, "eos_token"),
          .bos_before_text =
              add_bos != settings.end() && add_bos->is_boolean() && add_bos->get<bool>()};
}

}  // namespace isogrid
