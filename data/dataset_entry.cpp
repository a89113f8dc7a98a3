#include "data/dataset_entry.h"

#include <algorithm>
#include <filesystem>

#include "configs/suggest.h"
#include "core/error.h"
#include "core/hub_cache.h"
#include "core/io.h"
#include "core/json.h"
#include "core/log.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRegistryName = "dataset_info.json";
constexpr std::string_view kOnline = "ONLINE";  // dataset_dir: every name is a hub id

constexpr std::string_view kEntryKeys[] = {
    "file_name",       "hf_hub_url",  "ms_hub_url", "om_hub_url", "script_url",
    "cloud_file_name", "formatting",  "ranking",    "subset",     "split",
    "folder",          "num_samples", "columns",    "tags",       "file_sha1"};

template <typename Struct>
void clear_all(Struct& names) {
  names.visit([](const char*, std::string& value) { value.clear(); });
}

/// Replaces the names in `object`; those it does not list are no longer there.
template <typename Struct>
void read_names(const JsonFields& entry, const char* key, const std::string& place, Struct& names) {
  if (!entry.has(key)) return;
  const JsonFields object = entry.object(key);
  clear_all(names);
  std::vector<std::string_view> known;
  names.visit([&](const char* name, std::string& value) {
    known.emplace_back(name);
    value = object.string_or(name, "");
  });
  for (const auto& [name, ignored] : entry.value(key).items())
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail(ExitCode::configuration, place, ": \"", key, "\" has no '", shown_text(name), "'",
           suggestion(name, known));
}

RecordFormat format_named(const std::string& name, const std::string& place) {
  if (name == "alpaca") return RecordFormat::alpaca;
  if (name == "sharegpt") return RecordFormat::sharegpt;
  if (name == "openai") return RecordFormat::openai;
  fail(ExitCode::configuration, place, ": \"formatting\": came '", shown_text(name),
       "', allowed are alpaca, sharegpt and openai");
}

const DatasetTags kOpenAiTags{.role_tag = "role",
                              .content_tag = "content",
                              .user_tag = "user",
                              .assistant_tag = "assistant",
                              .observation_tag = "tool",
                              .function_tag = "",
                              .system_tag = "system"};

/// Data in this form cannot be read otherwise, so its own names stand in for LLaMA-Factory's.
void use_openai_names(const JsonFields& fields, DatasetEntry& entry) {
  if (!fields.has("columns")) entry.columns.messages = "messages";
  if (!fields.has("tags")) entry.tags = kOpenAiTags;
}

void read_source(const JsonFields& fields, const fs::path& folder, DatasetEntry& entry) {
  if (fields.has("hf_hub_url")) {
    entry.hub_id = fields.string("hf_hub_url");
    if (!is_hub_id(entry.hub_id))
      fail(ExitCode::configuration, entry.place, ": \"hf_hub_url\": came '",
           shown_text(entry.hub_id), "', allowed is ORG/NAME");
    return;
  }
  for (const char* key : {"ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"})
    if (fields.has(key))
      fail(ExitCode::configuration, entry.place, ": \"", key,
           "\" needs a network or runs code, which this trainer never does; download the files "
           "and name them with \"file_name\"");
  if (!fields.has("file_name"))
    fail(ExitCode::configuration, entry.place,
         " does not say where its rows are; give \"file_name\" or \"hf_hub_url\"");
  entry.path = (folder / fields.string("file_name")).string();
}

void warn_of_unknown_keys(const Json& json, const DatasetEntry& entry) {
  const std::vector<std::string_view> known(std::begin(kEntryKeys), std::end(kEntryKeys));
  for (const auto& [key, ignored] : json.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      log_warning(concat(entry.place, ": '", shown_text(key), "' means nothing here",
                         suggestion(key, known)));
}

DatasetEntry read_entry(const std::string& name, const Json& json, const fs::path& folder) {
  DatasetEntry entry;
  entry.name = name;
  entry.place = concat((folder / kRegistryName).string(), ": '", shown_text(name), "'");
  const JsonFields fields(json, entry.place);
  warn_of_unknown_keys(json, entry);
  read_source(fields, folder, entry);
  entry.format = format_named(fields.string_or("formatting", "alpaca"), entry.place);
  entry.ranking = fields.boolean_or("ranking", false);
  entry.subset = fields.string_or("subset", "");
  entry.split = fields.string_or("split", "train");
  entry.folder = fields.string_or("folder", "");
  if (fields.has("num_samples")) entry.num_samples = fields.integer("num_samples", 1);
  if (entry.format == RecordFormat::openai) use_openai_names(fields, entry);
  if (entry.path.ends_with(".txt")) entry.columns.prompt = "text", entry.columns.query = "";
  read_names(fields, "columns", entry.place, entry.columns);
  read_names(fields, "tags", entry.place, entry.tags);
  return entry;
}

DatasetEntry path_entry(const std::string& name, std::string path) {
  DatasetEntry entry;
  entry.name = name;
  entry.place = concat("dataset '", shown_text(name, 200), "'");
  entry.path = std::move(path);
  entry.is_guessed = true;
  return entry;
}

DatasetEntry hub_entry(const std::string& name) {
  DatasetEntry entry = path_entry(name, "");
  entry.hub_id = name;
  return entry;
}

[[noreturn]] void refuse_name(const std::string& name, const Json& registry,
                              const std::string& registry_path) {
  std::vector<std::string_view> known;
  for (const auto& [key, ignored] : registry.items()) known.emplace_back(key);
  fail(ExitCode::configuration, "dataset: '", shown_text(name, 200), "' is no name in ",
       registry_path, " and no file or folder", suggestion(name, known));
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

}  // namespace

std::vector<std::string> DatasetEntry::column_names() const {
  std::vector<std::string> names;
  DatasetColumns copy = columns;
  copy.visit([&](const char*, std::string& value) {
    if (!value.empty() && std::find(names.begin(), names.end(), value) == names.end())
      names.push_back(value);
  });
  return names;
}

std::vector<DatasetEntry> find_datasets(const std::vector<std::string>& names,
                                        const std::string& folder) {
  if (folder.starts_with("REMOTE:"))
    fail(ExitCode::configuration, "dataset_dir: ", shown_text(folder, 200),
         " is on a network, which this trainer never uses; download it and name its folder");
  const fs::path base = folder == kOnline ? fs::path() : fs::path(folder);
  const std::string registry_path = (base / kRegistryName).string();
  const bool has_registry = folder != kOnline && is_there(registry_path);
  const Json registry = has_registry ? read_json_file(registry_path) : Json::object();
  if (!registry.is_object())
    fail(ExitCode::refused_input, registry_path, ": it is no JSON object of datasets");
  std::vector<DatasetEntry> entries;
  for (const std::string& name : names) {
    if (const auto found = registry.find(name); found != registry.end())
      entries.push_back(read_entry(name, *found, base));
    else if (folder == kOnline && is_hub_id(name))
      entries.push_back(hub_entry(name));
    else if (is_there(name))
      entries.push_back(path_entry(name, name));
    else if (folder != kOnline && is_there(base / name))
      entries.push_back(path_entry(name, (base / name).string()));
    else if (!has_registry && folder != kOnline)
      fail(ExitCode::missing_input, registry_path, ": is missing, and '", shown_text(name, 200),
           "' is no file or folder; dataset_dir names the folder of dataset_info.json");
    else if (name.find('/') != std::string::npos && is_hub_id(name))
      entries.push_back(hub_entry(name));
    else
      refuse_name(name, registry, registry_path);
  }
  return entries;
}

void guess_columns(DatasetEntry& entry, const std::vector<std::string>& columns) {
  const auto has = [&](std::string_view name) {
    return std::find(columns.begin(), columns.end(), name) != columns.end();
  };
  const auto first_of = [&](std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (has(name)) return std::string(name);
    return std::string();
  };
  clear_all(entry.columns);
  entry.columns.system = first_of({"system"});
  entry.columns.tools = first_of({"tools"});
  if (const std::string list = first_of({"messages", "conversations", "conversation"});
      !list.empty()) {
    entry.columns.messages = list;
    entry.format = RecordFormat::sharegpt;
    return;
  }
  entry.columns.prompt =
      first_of({"instruction", "prompt", "question", "query", "problem", "text", "content"});
  entry.columns.query = entry.columns.prompt == "instruction" ? first_of({"input"}) : "";
  entry.columns.response =
      first_of({"output", "response", "answer", "completion", "solution", "target"});
  entry.columns.history = first_of({"history"});
  if (entry.columns.prompt.empty())
    fail(ExitCode::configuration, entry.place,
         ": its columns are none this program knows by name; describe it in dataset_info.json "
         "with \"columns\"");
}

void guess_tags(DatasetEntry& entry, const std::vector<std::string>& keys) {
  if (std::find(keys.begin(), keys.end(), "role") == keys.end()) return;
  entry.format = RecordFormat::openai;
  entry.tags = kOpenAiTags;
}

}  // namespace isogrid
