#include "trainer/run_directory/names.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "core/error.h"
#include "core/io_writer.h"

namespace isogrid {
namespace {

constexpr std::string_view kCheckpointPrefix = "checkpoint-";
constexpr std::string_view kTemporaryPrefix = ".tmp-";
constexpr std::string_view kTrashPrefix = ".trash-";
constexpr size_t kRandomDigits = 16;

// Sorted. The published model lies in the folder of the run, so its files are here too.
constexpr auto kRunEntries = std::to_array<std::string_view>({
    "adapter_config.json",
    "adapter_model.safetensors",
    "added_tokens.json",
    "all_results.json",
    "chat_template.jinja",
    "config.json",
    "config.resolved.yaml",
    "config.source.yaml",
    "data.json",
    "env.json",
    "eval_results.json",
    "events.jsonl",
    "generation_config.json",
    "logs",
    "merges.txt",
    "model.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "report.html",
    "run.json",
    "runs",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "train_results.json",
    "trainer_log.jsonl",
    "trainer_state.json",
    "training_log.csv",
    "training_loss.png",
    "training_loss.svg",
    "vocab.json",
});
static_assert(std::is_sorted(kRunEntries.begin(), kRunEntries.end()));

bool is_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool has_random_end(std::string_view name) {
  if (name.size() <= kRandomDigits) return false;
  const std::string_view end = name.substr(name.size() - kRandomDigits);
  return name[name.size() - kRandomDigits - 1] == '-' &&
         end.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// checkpoint-<step>.damaged-<k> and checkpoint-<step>.replaced-<k>: set aside, not trusted again.
bool is_set_aside(std::string_view name) {
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos || !checkpoint_step(name.substr(0, dot))) return false;
  const std::string_view suffix = name.substr(dot + 1);
  const size_t dash = suffix.find('-');
  if (dash == std::string_view::npos || !is_digits(suffix.substr(dash + 1))) return false;
  const std::string_view reason = suffix.substr(0, dash);
  return reason == "damaged" || reason == "replaced";
}

/// model-00001-of-00003.safetensors
bool is_shard(std::string_view name) {
  constexpr std::string_view kPattern = "model-#####-of-#####.safetensors";
  return std::equal(name.begin(), name.end(), kPattern.begin(), kPattern.end(),
                    [](char c, char p) { return p == '#' ? c >= '0' && c <= '9' : c == p; });
}

}  // namespace

std::string checkpoint_name(int64_t step) { return concat(kCheckpointPrefix, step); }

std::optional<int64_t> checkpoint_step(std::string_view name) {
  if (!name.starts_with(kCheckpointPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kCheckpointPrefix.size());
  int64_t step = 0;
  const auto [end, problem] = std::from_chars(digits.begin(), digits.end(), step);
  if (!is_digits(digits) || problem != std::errc() || end != digits.end()) return std::nullopt;
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
  return step;
}

std::string temporary_name(std::string_view what) {
  return concat(kTemporaryPrefix, what, "-", random_name_part());
}

std::string trash_name(std::string_view what) {
  return concat(kTrashPrefix, what, "-", random_name_part());
}

bool is_leftover(std::string_view name) {
  if (!has_random_end(name)) return false;
  if (name.starts_with(kTemporaryPrefix) || name.starts_with(kTrashPrefix)) return true;
  // write_file_durably's: ".<target>.tmp-<16 hex>", of a target that is ours.
  constexpr std::string_view kMiddle = ".tmp-";
  const size_t middle = name.size() - kRandomDigits - kMiddle.size();
  return name.front() == '.' && middle > 1 && name.substr(middle, kMiddle.size()) == kMiddle &&
         is_run_entry(name.substr(1, middle - 1));
}

bool is_run_entry(std::string_view name) {
  return checkpoint_step(name) || is_set_aside(name) || is_shard(name) ||
         std::binary_search(kRunEntries.begin(), kRunEntries.end(), name);
}

}  // namespace isogrid
