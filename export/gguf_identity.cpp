#include "export/gguf_identity.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include "configs/yaml.h"
#include "core/error.h"
#include "core/gguf_folder.h"
#include "core/log.h"
#include "export/gguf_metadata.h"
#include "export/model_id.h"
#include "models/gguf_mix.h"

namespace isogrid {
namespace {

constexpr uint64_t kMostCard = 4 << 20;

/// The YAML between the two lines of dashes at the top of README.md; a null node without it.
YamlNode read_card(const ModelFolder& folder) {
  if (!folder.files->has("README.md")) return {};
  const std::string name = folder.files->shown("README.md");
  const std::string text = folder.files->read("README.md", kMostCard);
  constexpr std::string_view kFence = "---\n";
  if (!text.starts_with(kFence)) return {};
  const size_t end = text.find("\n---", kFence.size() - 1);
  if (end == std::string::npos) return {};
  std::string front = text.substr(kFence.size(), end + 1 - kFence.size());
  for (size_t tab = 0; (tab = front.find('\t', tab)) != std::string::npos; ++tab)
    front.replace(tab, 1, "  ");
  try {
    return parse_yaml(front, name);
  } catch (const Error& error) {
    log_warning(concat("the model card is left out of the GGUF file: ", error.what()));
    return {};
  }
}

const YamlNode* entry(const YamlNode& map, std::string_view key) {
  for (const YamlEntry& each : entries_of(map))
    if (each.key.text == key && each.value.kind != YamlNode::Kind::null) return &each.value;
  return nullptr;
}

/// A text, or a list's texts.
std::vector<std::string> texts_of(const YamlNode* node) {
  std::vector<std::string> list;
  if (node == nullptr) return list;
  if (node->kind == YamlNode::Kind::scalar) list.push_back(node->text);
  for (const YamlNode& item : node->items)
    if (node->kind == YamlNode::Kind::list && item.kind == YamlNode::Kind::scalar)
      list.push_back(item.text);
  return list;
}

std::string joined_texts(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ",") + text;
  return all;
}

/// Values by the name of their key behind "general."; the first one told stays.
class Identity {
 public:
  void tell(const std::string& key, const std::string& value) {
    if (value.empty()) return;
    for (const auto& [known, old] : values_)
      if (known == key) return;
    values_.emplace_back(key, value);
  }
  void tell_id(const ModelId& id) {
    tell("name", title_of(id.name));
    tell("organization", title_of(id.organisation));
    tell("basename", id.base_name);
    tell("finetune", id.finetune);
    tell("version", id.version);
    tell("size_label", id.size_label);
  }
  std::string value(const std::string& key) const {
    for (const auto& [known, value] : values_)
      if (known == key) return value;
    return {};
  }

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

struct CardKey {
  const char* key;
  const char* card;
};
constexpr CardKey kCardKeys[] = {
    {"name", "name"},
    {"author", "author"},
    {"version", "version"},
    {"organization", "organization"},
    {"description", "description"},
    {"finetune", "finetune"},
    {"basename", "basename"},
    {"size_label", "size_label"},
    {"source.url", "url"},
    {"source.doi", "doi"},
    {"source.uuid", "uuid"},
    {"source.repo_url", "repo_url"},
    {"name", "model_name"},
    {"author", "model_author"},
    {"version", "model_version"},
    {"organization", "model_organization"},
    {"description", "model_description"},
    {"finetune", "model_finetune"},
    {"basename", "model_basename"},
    {"size_label", "model_size_label"},
    {"source.url", "model_url"},
    {"source.doi", "model_doi"},
    {"source.uuid", "model_uuid"},
    {"source.repo_url", "model_repo_url"},
    {"author", "model_creator"},
    {"basename", "model_type"},
};
constexpr const char* kWritten[] = {"name",       "author",       "version",        "organization",
                                    "finetune",   "basename",     "description",    "size_label",
                                    "license",    "license.name", "license.link",   "source.url",
                                    "source.doi", "source.uuid",  "source.repo_url"};

bool is_address(const std::string& text) {
  return text.starts_with("http://") || text.starts_with("https://") || text.starts_with("ssh://");
}

/// "https://huggingface.co/a/b" -> "a/b"
std::string id_of_address(const std::string& address) {
  for (const std::string_view site : {"https://huggingface.co/", "http://huggingface.co/"}) {
    if (!address.starts_with(site)) continue;
    const std::string id = address.substr(site.size());
    const size_t slash = id.find('/');
    if (slash != std::string::npos && slash > 0 && slash + 1 < id.size() &&
        id.find('/', slash + 1) == std::string::npos)
      return id;
  }
  return {};
}

void add_relative(const std::string& prefix, const YamlNode& node, uint64_t parameters,
                  GgufMetadata& metadata) {
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) metadata.add(prefix + key, value);
  };
  if (node.kind == YamlNode::Kind::map) {
    for (const char* key : {"name", "author", "version", "organization", "description", "url",
                            "doi", "uuid", "repo_url"})
      if (const YamlNode* value = entry(node, key)) add(key, value->text);
    return;
  }
  const bool address = is_address(node.text);
  const std::string id = address ? id_of_address(node.text) : node.text;
  if (!id.empty()) {
    const ModelId parts = parse_model_id(id, parameters);
    add("name", title_of(parts.name));
    add("version", parts.version);
    add("organization", title_of(parts.organisation));
    if (!address && !parts.organisation.empty())
      add("repo_url", concat("https://huggingface.co/", parts.organisation, "/", parts.name));
  }
  if (address) add("repo_url", node.text);
}

/// The models or data a card says this one comes from.
void add_relatives(const YamlNode& card, std::initializer_list<const char*> names,
                   const std::string& kind, uint64_t parameters, GgufMetadata& metadata) {
  for (const char* name : names) {
    const YamlNode* found = entry(card, name);
    if (found == nullptr) continue;
    const bool list = found->kind == YamlNode::Kind::list;
    const uint32_t count = list ? static_cast<uint32_t>(found->items.size()) : 1;
    metadata.add("general." + kind + ".count", count);
    for (uint32_t i = 0; i < count; ++i)
      add_relative(concat("general.", kind, ".", i, "."), list ? found->items[i] : *found,
                   parameters, metadata);
    return;
  }
}

void add_list(const YamlNode& card, const char* key, const char* first, const char* second,
              GgufMetadata& metadata) {
  std::vector<std::string> list = texts_of(entry(card, first));
  for (std::string& text : texts_of(entry(card, second))) list.push_back(std::move(text));
  if (!list.empty()) metadata.add(key, list);
}

}  // namespace

namespace {

/// "model-Q4_0" -> "model": a file is called by its types too.
std::string without_type(const std::string& stem) {
  const size_t dash = stem.find_last_of("-.");
  return dash == std::string::npos || find_gguf_mix(stem.substr(dash + 1)) == nullptr
             ? stem
             : stem.substr(0, dash);
}

/// What a GGUF file said of itself stays said; what it is made of is told anew.
void copy_identity(const GgufHeader& from, GgufMetadata& metadata) {
  for (const GgufValue& value : from.values()) {
    const bool told_anew = value.key == "general.architecture" || value.key == "general.type" ||
                           value.key == "general.file_type" || value.key == "general.alignment" ||
                           value.key == "general.quantization_version" ||
                           value.key.starts_with("general.sampling.");
    if (value.key.starts_with("general.") && !told_anew) metadata.add(value);
  }
}

}  // namespace

std::string folder_title(const std::string& path) {
  namespace fs = std::filesystem;
  fs::path folder = fs::absolute(path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  const fs::path snapshots = folder.parent_path();
  const std::string store = snapshots.parent_path().filename().string();
  if (snapshots.filename() == "snapshots" && store.starts_with("models--"))
    return store.substr(store.rfind("--") + 2);
  const std::string name = folder.filename().string();
  return name.ends_with(".gguf") ? without_type(folder.stem().string()) : name;
}

void add_identity(const ModelFolder& folder, uint64_t parameters, GgufMetadata& metadata) {
  if (folder.files->gguf()) return copy_identity(folder.files->gguf()->first().header(), metadata);
  const YamlNode card = read_card(folder);
  Identity identity;
  for (const CardKey& row : kCardKeys)
    if (const YamlNode* value = entry(card, row.card)) identity.tell(row.key, value->text);
  identity.tell("license", joined_texts(texts_of(entry(card, "license"))));
  identity.tell("license.name", joined_texts(texts_of(entry(card, "license_name"))));
  identity.tell("license.link", joined_texts(texts_of(entry(card, "license_link"))));
  const auto origin = folder.config.find("_name_or_path");
  if (origin != folder.config.end() && origin->is_string()) {
    const auto id = origin->get<std::string>();
    if (std::count(id.begin(), id.end(), '/') <= 1)
      identity.tell_id(parse_model_id(id, parameters));
  }
  identity.tell_id(parse_model_id(folder_title(folder.path), parameters));
  identity.tell("name", folder_title(folder.path));
  if (parameters > 0) identity.tell("size_label", size_label(parameters));

  for (const char* key : kWritten)
    if (const std::string value = identity.value(key); !value.empty())
      metadata.add(concat("general.", key), value);
  add_relatives(card, {"base_model", "base_models", "base_model_sources"}, "base_model", parameters,
                metadata);
  add_relatives(card, {"datasets", "dataset", "dataset_sources"}, "dataset", parameters, metadata);
  add_list(card, "general.tags", "tags", "pipeline_tag", metadata);
  add_list(card, "general.languages", "languages", "language", metadata);
}

}  // namespace isogrid
