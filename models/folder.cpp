#include "models/folder.h"

#include <utility>

#include "core/error.h"
#include "core/foreign_files.h"
#include "core/gguf_folder.h"
#include "core/log.h"

namespace isogrid {
namespace {

constexpr uint64_t kMaxSmallJson = 16 << 20;
constexpr uint64_t kMaxTemplate = 4 << 20;

Json read_json(const InputDirectory& files, const std::string& name) {
  Json json = parse_json(files.read(name, kMaxSmallJson), files.shown(name));
  const JsonFields must_be_an_object(json, files.shown(name));
  return json;
}

// Older releases write a list of {"name", "template"}.
std::optional<std::string> template_field(const Json& json, const std::string& where) {
  const JsonFields fields(json, where);
  if (!fields.has("chat_template")) return std::nullopt;
  const Json& field = fields.value("chat_template");
  if (field.is_string()) return field.get<std::string>();
  if (!field.is_array()) fields.refuse("chat_template", "a string or an array of templates");
  std::optional<std::string> first;
  for (const Json& item : field) {
    const JsonFields named(item, where + ": chat_template");
    std::string text = named.string("template");
    if (named.string("name") == "default") return text;
    if (!first) first = std::move(text);
  }
  return first;
}

void announce_ignored_code(const ModelFolder& folder) {
  if (folder.config.contains("auto_map"))
    log_info(concat(folder.files->shown("config.json"),
                    ": key 'auto_map' names Python code; it is ignored"));
}

}  // namespace

const std::vector<std::string>& tokenizer_file_names() {
  static const std::vector<std::string> names{
      "tokenizer.json", "tokenizer.model",         "tokenizer_config.json",
      "vocab.json",     "special_tokens_map.json", "added_tokens.json",
      "merges.txt",     "chat_template.jinja",     "chat_template.json"};
  return names;
}

std::optional<std::string> read_chat_template(const InputDirectory& files) {
  if (files.has("chat_template.jinja")) return files.read("chat_template.jinja", kMaxTemplate);
  for (const char* name : {"tokenizer_config.json", "chat_template.json"})
    if (files.has(name))
      if (auto text = template_field(read_json(files, name), files.shown(name))) return text;
  return std::nullopt;
}

ModelFolder open_model_folder(const std::string& path) {
  ModelFolder folder;
  folder.path = path;
  if (has_pickle_name(path)) refuse_foreign_file(path);
  folder.files = open_model_directory(path);
  const InputDirectory& files = *folder.files;
  if (!files.has("config.json"))
    fail(ExitCode::missing_input, files.shown("config.json"),
         ": is missing; a model folder has config.json and model.safetensors",
         files.has("adapter_config.json") ? " (this one holds an adapter: give its base model and "
                                            "name this as adapter_name_or_path)"
                                          : "");
  folder.config = read_json(files, "config.json");
  if (files.has("generation_config.json"))
    folder.generation_config = read_json(files, "generation_config.json");
  for (const std::string& name : tokenizer_file_names())
    if (files.has(name)) folder.tokenizer_files.push_back(name);
  folder.chat_template = read_chat_template(files);
  announce_ignored_code(folder);
  return folder;
}

}  // namespace isogrid
