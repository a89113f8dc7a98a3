#include "trainer/records/run_diff.h"

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <string_view>
#include <utility>

#include "configs/values.h"
#include "configs/yaml.h"
#include "core/error.h"
#include "core/io.h"
#include "core/json.h"
#include "trainer/records/log_rows.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

/// Where a run writes, and what it is called, makes no difference to it.
constexpr auto kPlaces =
    std::to_array<std::string_view>({"output_dir", "logging_dir", "run_name", "report_to"});

bool is_place(std::string_view key) {
  return std::find(kPlaces.begin(), kPlaces.end(), key) != kPlaces.end();
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

const std::string* value_of(const Pairs& pairs, const std::string& key) {
  const auto found = std::find_if(pairs.begin(), pairs.end(),
                                  [&key](const auto& pair) { return pair.first == key; });
  return found == pairs.end() ? nullptr : &found->second;
}

void add_differences(const Pairs& first, const Pairs& second, std::vector<Difference>& found) {
  for (const auto& [key, value] : first) {
    const std::string* other = value_of(second, key);
    if (!other || *other != value) found.push_back({key, value, other ? *other : ""});
  }
  for (const auto& [key, value] : second)
    if (!value_of(first, key)) found.push_back({key, "", value});
}

Pairs settings_of(const std::string& run) {
  const std::string path = (fs::path(run) / "config.resolved.yaml").string();
  Pairs pairs;
  if (!fs::exists(path)) return pairs;
  const YamlNode root = parse_yaml(read_text_file(path, yaml_byte_limit), path);
  for (const auto& [key, value] : entries_of(root))
    if (!is_place(key.text)) pairs.emplace_back(key.text, yaml_of(value));
  return pairs;
}

void flatten(const Json& value, const std::string& name, Pairs& pairs) {
  if (!value.is_structured()) {
    pairs.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
    return;
  }
  size_t index = 0;
  for (const auto& item : value.items())
    flatten(item.value(), concat(name, ".", value.is_array() ? concat(index++) : item.key()),
            pairs);
}

Pairs facts_of(const std::string& run, const char* name) {
  const std::string path = (fs::path(run) / name).string();
  Pairs pairs;
  if (!fs::exists(path)) return pairs;
  const Json facts = read_json_file(path);
  for (const auto& item : facts.items())
    if (item.key() != "run_id") flatten(item.value(), concat(name, " ", item.key()), pairs);
  return pairs;
}

std::vector<LogRow> train_rows(const std::string& run) {
  std::vector<LogRow> rows = read_training_log(run);
  std::erase_if(rows, [](const LogRow& row) { return row.is_eval; });
  return rows;
}

bool same_bits(double one, double other) {
  return std::bit_cast<uint64_t>(one) == std::bit_cast<uint64_t>(other);
}

std::vector<Difference> row_differences(const LogRow& first, const LogRow& second) {
  std::vector<Difference> found;
  const auto number = [&](const char* what, double one, double other) {
    if (!same_bits(one, other)) found.push_back({what, Json(one).dump(), Json(other).dump()});
  };
  const bool has_bits = first.has_bits && second.has_bits;
  if (has_bits && first.loss_bits != second.loss_bits)
    found.push_back({"loss_bits", hex_text(first.loss_bits, 8), hex_text(second.loss_bits, 8)});
  if (!has_bits || !found.empty()) number("loss", first.loss, second.loss);
  number("grad_norm", first.grad_norm, second.grad_norm);
  number("lr", first.learning_rate, second.learning_rate);
  if (first.order_hash != second.order_hash)
    found.push_back({"order", hex_text(first.order_hash, 16), hex_text(second.order_hash, 16)});
  return found;
}

void compare_steps(const std::vector<LogRow>& first, const std::vector<LogRow>& second,
                   RunDifferences& found) {
  const auto step_text = [](const std::vector<LogRow>& rows, size_t at) {
    return at < rows.size() ? concat(rows[at].step) : std::string();
  };
  for (size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    const bool both = i < first.size() && i < second.size();
    if (both && first[i].step == second[i].step) {
      found.at_step = row_differences(first[i], second[i]);
      if (found.at_step.empty()) {
        ++found.steps_compared;
        continue;
      }
      found.step = first[i].step;
      return;
    }
    found.step = !both                            ? (i < first.size() ? first[i] : second[i]).step
                 : first[i].step < second[i].step ? first[i].step
                                                  : second[i].step;
    found.at_step = {{"logged step", step_text(first, i), step_text(second, i)}};
    return;
  }
}

Json list_json(const std::vector<Difference>& differences) {
  Json list = Json::array();
  for (const auto& [what, first, second] : differences)
    list.push_back({{"what", what}, {"first", first}, {"second", second}});
  return list;
}

}  // namespace

RunDifferences compare_runs(const std::string& first, const std::string& second) {
  RunDifferences found;
  if (fs::is_directory(first) && fs::is_directory(second)) {
    add_differences(settings_of(first), settings_of(second), found.settings);
    for (const char* name : {"data.json", "model.json", "env.json"})
      add_differences(facts_of(first, name), facts_of(second, name), found.facts);
  }
  compare_steps(train_rows(first), train_rows(second), found);
  return found;
}

Json differences_json(const RunDifferences& differences) {
  Json step;
  if (differences.step)
    step = {{"step", *differences.step}, {"differences", list_json(differences.at_step)}};
  return {{"equal", differences.equal()},
          {"first_setting",
           differences.settings.empty() ? Json() : Json(differences.settings.front().what)},
          {"settings", list_json(differences.settings)},
          {"facts", list_json(differences.facts)},
          {"steps_equal", differences.steps_compared},
          {"first_step", step}};
}

}  // namespace isogrid
