#include "configs/load.h"

#include <algorithm>
#include <unordered_map>

#include "configs/aliases.h"
#include "configs/foreign.h"
#include "configs/rules.h"
#include "configs/scalars.h"
#include "configs/suggest.h"
#include "configs/utf8.h"
#include "configs/values.h"
#include "core/error.h"
#include "core/io.h"
#include "core/log.h"

namespace isogrid {
namespace {

constexpr size_t most_problems = 50;  // beyond that a file is something else than a config

bool is_off(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::null) return true;
  if (node.kind == YamlNode::Kind::list) return node.items.empty();
  if (node.kind == YamlNode::Kind::map) return node.items.empty();
  const auto read = read_bool(node.text);
  return (read.value && !*read.value) || is_null_word(node.text) || node.text == "none";
}

LogLevel level_named(const std::string& name) {
  if (name == "debug") return LogLevel::debug;
  if (name == "warning") return LogLevel::warning;
  return name == "error" ? LogLevel::error : LogLevel::info;
}

/// Lays one source of settings after another over the defaults.
class Loader {
 public:
  Loader() : fields_(fields_of(loaded_.config)) {
    for (const Field& field : fields_) by_name_.emplace(field.name, &field);
  }
  Loader(const Loader&) = delete;

  /// A new source: it may say again what an earlier one said.
  void begin_source() {
    spoken_.clear();
    forbidden_.clear();
  }

  void set(const std::string& key, const YamlNode& node, const std::string& place,
           const std::string& value_place) {
    if (const auto field = by_name_.find(key); field != by_name_.end())
      return set_field(*field->second, key, node, place, value_place);
    if (const Alias* alias = find_alias(key)) return set_alias(*alias, node, place, value_place);
    if (const ForeignKey* foreign = find_foreign(key)) return set_foreign(*foreign, node, place);
    refuse_unknown(key, node, place);
  }

  const Field* target_of(const std::string& key) const {
    const Alias* alias = find_alias(key);
    const auto field = by_name_.find(alias ? alias->key : std::string_view(key));
    return field == by_name_.end() ? nullptr : field->second;
  }

  void end_source() {
    for (const auto& [field, ban] : forbidden_) {
      const auto spoken = spoken_.find(field->name);
      if (spoken != spoken_.end() && yaml_of(*field) == ban.value)
        problem(ban.place, concat(ban.name, " says the opposite of ", spoken->second.name, " = ",
                                  ban.value, " (", spoken->second.place, "): leave one out"));
    }
  }

  void problem(const std::string& place, const std::string& text) {
    loaded_.problems.push_back(concat(place, ": ", text));
  }

  LoadedConfig take() { return std::move(loaded_); }

 private:
  struct Said {
    std::string name, place, value;
  };

  void set_field(const Field& field, const std::string& name, const YamlNode& node,
                 const std::string& place, const std::string& value_place) {
    const std::string wrong = assign(field, node);
    if (!wrong.empty())
      return problem(value_place, concat(name, ": ", wrong, misplaced_keys(node)));
    if (const std::string inside = misplaced_keys(node); !inside.empty())
      return problem(value_place, concat(name, ": a mapping came", inside));
    const std::string value = yaml_of(field);
    const auto [said, is_first] = spoken_.try_emplace(field.name, Said{name, place, value});
    if (!is_first && said->second.value != value)
      problem(place, concat(name, " = ", value, " and ", said->second.name, " = ",
                            said->second.value, " (", said->second.place,
                            "): two names of one setting, two values; leave one out"));
    loaded_.config.places[std::string(field.name)] = place;
    note_spelling(field, node, place);
  }

  void note_spelling(const Field& field, const YamlNode& node, const std::string& place) {
    for (const Spelling& spelling : field.spellings)
      if (node.kind == YamlNode::Kind::scalar && node.text == spelling.written)
        note(place, concat(field.name, ": ", spelling.written, " is read as ", spelling.meant));
  }

  void set_alias(const Alias& alias, const YamlNode& node, const std::string& place,
                 const std::string& value_place) {
    const Field& field = *by_name_.at(alias.key);
    const Translation said = translate(alias, node);
    if (!said.problem.empty())
      return problem(value_place,
                     concat(alias.name, ": ", said.problem, ", '", node.text, "' came"));
    if (!said.forbidden.empty())
      forbidden_.emplace_back(&field, Said{std::string(alias.name), place, said.forbidden});
    if (said.value) set_field(field, std::string(alias.name), *said.value, place, value_place);
    if (!alias.is_quiet)
      note(place, said.value ? concat(alias.name, " is read as ", alias.key, ": ", yaml_of(field))
                             : concat(alias.name, " is read as the default of ", alias.key));
  }

  void set_foreign(const ForeignKey& key, const YamlNode& node, const std::string& place) {
    if (const std::string inside = misplaced_keys(node); !inside.empty())
      return problem(place, concat(key.name, ": a mapping came", inside));
    loaded_.config.places[std::string(key.name)] = place;
    loaded_.config.foreign.erase(std::string(key.name));
    if (key.is_hint)
      note(place, concat(key.name, ": no effect here: ", key.why));
    else if (!is_off(node))
      loaded_.config.foreign[std::string(key.name)] = yaml_of(node);
  }

  /// Keys written under another one, as nested configs have them.
  std::string misplaced_keys(const YamlNode& node) const {
    std::string names;
    for (const auto& [key, value] : entries_of(node))
      if (target_of(key.text) || find_foreign(key.text))
        names += concat(names.empty() ? "" : ", ", key.text);
    return names.empty() ? names : concat("; keys are flat: write ", names, " at the left margin");
  }

  void refuse_unknown(const std::string& key, const YamlNode& node, const std::string& place) {
    if (loaded_.problems.size() >= most_problems) return problem(place, "not a key");
    const std::string shown = key.size() > 60 ? key.substr(0, 57) + "..." : key;
    if (node.kind != YamlNode::Kind::map || node.items.empty())
      return problem(place, concat(shown, ": not a key", suggestion(key, known_keys())));
    std::string text = concat(shown, ": not a key", suggestion(key, known_keys()));
    if (const std::string inside = misplaced_keys(node); !inside.empty())
      return problem(place, text + inside);
    const auto& first = node.keys.front().text;
    problem(place,
            concat(text, "; keys are flat, without sections", suggestion(first, known_keys())));
  }

  void note(const std::string& place, const std::string& text) {
    loaded_.notes.push_back(concat(place, ": ", text));
  }

  LoadedConfig loaded_;
  std::vector<Field> fields_;
  std::unordered_map<std::string_view, const Field*> by_name_;
  std::unordered_map<std::string_view, Said> spoken_;
  std::vector<std::pair<const Field*, Said>> forbidden_;
};

void read_file_settings(Loader& loader, const YamlNode& file, const std::string& name) {
  if (file.kind == YamlNode::Kind::null) return;
  if (file.kind != YamlNode::Kind::map)
    return loader.problem(place_of(name, file), "lines of the form `key: value` are expected");
  loader.begin_source();
  for (const auto& [key, value] : entries_of(file))
    loader.set(key.text, value, place_of(name, key), place_of(name, value));
  loader.end_source();
}

void read_overrides(Loader& loader, const std::vector<Override>& overrides) {
  loader.begin_source();
  // The last of several equal flags holds, as everywhere.
  std::unordered_map<std::string_view, size_t> last;
  for (size_t i = 0; i < overrides.size(); ++i) last[overrides[i].key] = i;
  for (size_t i = 0; i < overrides.size(); ++i) {
    const Override& given = overrides[i];
    if (last[given.key] != i) continue;
    if (first_bad_character(given.value) != given.value.size()) {
      loader.problem(given.place, "the value is not text: UTF-8 without control characters");
      continue;
    }
    YamlNode node;
    if (const Field* field = loader.target_of(given.key)) {
      try {
        node = node_from_word(*field, given.value, given.place);
      } catch (const Error& error) {
        loader.problem(given.place, error.what());
        continue;
      }
    } else {
      node.kind = YamlNode::Kind::scalar;
      node.text = given.value;
    }
    loader.set(given.key, node, given.place, given.place);
  }
  loader.end_source();
}

std::string last_part(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

std::string default_output_dir(const RunConfig& config, const std::string& file) {
  std::string name = last_part(file);
  for (std::string_view ending : {".yaml", ".yml"})
    if (name.size() > ending.size() && name.ends_with(ending))
      name.resize(name.size() - ending.size());
  if (name.empty() && config.model.model_name_or_path)
    name = last_part(*config.model.model_name_or_path);
  return "output/" + (name.empty() || name == "." || name == ".." ? "run" : name);
}

}  // namespace

LoadedConfig read_run_config(const YamlNode& file, const std::string& name,
                             const std::vector<Override>& overrides) {
  Loader loader;
  read_file_settings(loader, file, name);
  read_overrides(loader, overrides);
  LoadedConfig loaded = loader.take();
  for (std::string& found : contradictions(loaded.config))
    loaded.problems.push_back(std::move(found));
  if (loaded.problems.size() > most_problems) {
    const size_t more = loaded.problems.size() - most_problems;
    loaded.problems.resize(most_problems);
    loaded.problems.push_back(concat("and ", more, " more"));
  }
  if (loaded.config.run.output_dir.empty())
    loaded.config.run.output_dir = default_output_dir(loaded.config, name);
  return loaded;
}

RunConfig load_run_config(const std::string& path, const std::vector<Override>& overrides) {
  YamlNode file;
  if (!path.empty()) {
    const MappedFile bytes(path);
    file = parse_yaml(as_text(bytes.bytes()), path);
  }
  LoadedConfig loaded = read_run_config(file, path, overrides);
  set_log_level(level_named(loaded.config.run.log_level));
  for (const std::string& note : loaded.notes) log_info(note);
  if (!loaded.problems.empty())
    fail(ExitCode::configuration, joined_problems(path, loaded.problems));
  return std::move(loaded.config);
}

const std::vector<std::string_view>& known_keys() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    RunConfig config;
    for (const Field& field : fields_of(config)) all.push_back(field.name);
    for (const Alias& alias : aliases()) all.push_back(alias.name);
    for (const ForeignKey& key : foreign_keys()) all.push_back(key.name);
    return all;
  }();
  return names;
}

}  // namespace isogrid
