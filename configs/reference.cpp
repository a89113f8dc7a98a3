#include "configs/reference.h"

#include "configs/aliases.h"
#include "configs/foreign.h"
#include "configs/values.h"
#include "core/error.h"

namespace isogrid {
namespace {

/// Text inside a table of Markdown.
std::string cell(std::string_view text) {
  std::string out;
  for (char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string default_text(const Field& field) {
  if (field.name == "output_dir") return "`output/<config name>`";
  const std::string value = yaml_of(field);
  if (value != "null") return concat("`", value, "`");
  return field.unset_means.empty() ? "none" : concat("none: ", field.unset_means);
}

std::string values_text(const Field& field) {
  std::string text = concat(kind_text(field));
  if (!is_switch(field) &&
      (field.least || field.most || !field.choices.empty() || !field.allowed.empty() ||
       field.takes_bool || field.counting != Counting::plain))
    text = allowed_text(field);
  if (text.ends_with(", or null")) text.resize(text.size() - 9);
  if (!field.choices_to_come.empty()) {
    text += "; not yet:";
    for (std::string_view name : field.choices_to_come) text += concat(" ", name);
  }
  return text;
}

void add_keys(std::string& page, const GroupInfo& group, const std::vector<Field>& fields) {
  page += concat("\n## ", group.title, "\n\n");
  if (!group.is_built) page += "Read and checked, not used yet.\n\n";
  page += "| key | value | default | what it does |\n|---|---|---|---|\n";
  for (const Field& field : fields) {
    if (static_cast<Group>(field.group) != group.group) continue;
    page += concat("| `", field.name, "` | ", cell(values_text(field)), " | ",
                   cell(default_text(field)), " | ", cell(field.help),
                   field.is_planned ? " *Not supported yet.*" : "", " |\n");
  }
}

void add_aliases(std::string& page) {
  page +=
      "\n## Other names\n\nEach use is reported once. Both names of one setting with different "
      "values are an error.\n\n| written | read as |\n|---|---|\n";
  for (const Alias& alias : aliases()) {
    std::string meaning = concat("`", alias.key, "`");
    if (alias.form == AliasForm::four_if_true) meaning = concat("`", alias.key, ": 4`");
    if (alias.form == AliasForm::eight_if_true) meaning = concat("`", alias.key, ": 8`");
    if (alias.form == AliasForm::false_if_true) meaning = concat("`", alias.key, ": false`");
    if (alias.form == AliasForm::cpu_if_true) meaning = concat("`", alias.key, ": cpu`");
    if (alias.form == AliasForm::ratio) meaning = concat("`", alias.key, "`, a share of the run");
    page += concat("| `", alias.name, "` | ", meaning, " |\n");
  }
  RunConfig config;
  for (const Field& field : fields_of(config))
    for (const Spelling& spelling : field.spellings)
      page += concat("| `", field.name, ": ", spelling.written, "` | `", field.name, ": ",
                     spelling.meant, "` |\n");
}

void add_foreign(std::string& page, bool hints) {
  std::string_view why;
  for (const ForeignKey& key : foreign_keys()) {
    if (key.is_hint != hints) continue;
    page += key.why == why ? concat(", `", key.name, "`")
                           : concat(why.empty() ? "" : "\n", "- ", key.why, ": `", key.name, "`");
    why = key.why;
  }
  page += "\n";
}

}  // namespace

std::string config_as_yaml(const RunConfig& config) {
  RunConfig current = config;
  const std::vector<Field> fields = fields_of(current);
  std::string text;
  for (const GroupInfo& group : config_groups()) {
    text += concat(text.empty() ? "" : "\n", "### ", group.title, "\n");
    for (const Field& field : fields)
      if (static_cast<Group>(field.group) == group.group)
        text += concat(field.name, ": ", yaml_of(field), "\n");
  }
  if (!config.foreign.empty()) text += "\n### Other stacks\n";
  for (const auto& [name, value] : config.foreign) text += concat(name, ": ", value, "\n");
  return text;
}

std::string config_reference() {
  std::string page =
      "# Configuration\n\n"
      "<!-- Written by `trainer config --markdown`; a test fails when it is stale. -->\n\n"
      "One YAML file, flat, `key: value`. Every key is also a flag (`--key value`) and an "
      "override\n"
      "(`key=value`); names and meanings are LLaMA-Factory's. `trainer config --config FILE` "
      "prints\nwhat a file comes to with every default written out.\n\n"
      "What words mean: `true`, `yes`, `on`, `1` and `false`, `no`, `off`, `0` are switches; "
      "`2e-4`,\n`1_000`, `0x1f`, `0o17` and `1e3` are numbers, `012`, NaN and infinity are not; "
      "`null`, `~`\nand an empty value are nothing chosen. A list is `[a, b]` or `a, b`. Aliases, "
      "anchors, tags,\nmerge keys and keys that stand twice are refused.\n";
  RunConfig defaults;
  const std::vector<Field> fields = fields_of(defaults);
  for (const GroupInfo& group : config_groups()) add_keys(page, group, fields);
  add_aliases(page);
  page +=
      "\n## Hints to other stacks\n\nAccepted and reported once; they change no result here.\n\n";
  add_foreign(page, true);
  page +=
      "\n## Settings of other stacks\n\nAccepted when they say off; otherwise a command they "
      "would change refuses them.\n\n";
  add_foreign(page, false);
  return page;
}

}  // namespace isogrid
