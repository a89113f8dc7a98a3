#include "data/kd_rows.h"

#include <algorithm>
#include <numeric>

#include "configs/values.h"
#include "core/error.h"
#include "core/hash.h"
#include "data/row_plan.h"

namespace isogrid {
namespace {

std::string differences_text(const std::map<std::string, std::string>& there,
                             const std::map<std::string, std::string>& now) {
  std::string text;
  for (const auto& [key, value] : now)
    if (const auto old = there.find(key); old != there.end() && old->second != value)
      text += concat(text.empty() ? "" : "; ", key, ": ", shown_text(old->second), " there, ",
                     shown_text(value), " here");
  return text;
}

ExampleList numbers_between(int64_t first, int64_t last) {
  ExampleList list(static_cast<size_t>(last - first));
  std::iota(list.begin(), list.end(), static_cast<uint64_t>(first));
  return list;
}

/// The cache's own documents as rows, each of them whole.
std::shared_ptr<const RowStore> rows_of_cache(const RunConfig& config, const KdCache& cache,
                                              const ExampleList& examples, RowsReport& report) {
  const PackOptions options{.packed = packs_rows(config),
                            .cut_texts = false,
                            .cutoff_len = config.data.cutoff_len,
                            .window = config.data.preprocessing_batch_size};
  const auto length_of = [&](uint64_t example) {
    return static_cast<int64_t>(cache.documents()->words(static_cast<int64_t>(example)).size());
  };
  RowPlan plan = plan_rows(examples, length_of, options);
  report.dropped_tokens = plan.dropped_tokens;
  auto store = std::make_shared<const RowStore>(std::vector{cache.documents()},
                                                std::move(plan.pieces), std::move(plan.row_ends));
  describe_rows(*store, options, report);
  return store;
}

void check_tokenizer(const KdCache& cache, const TextCoder& coder) {
  if (cache.meta().tokenizer_sha256 != coder.sha256)
    fail(ExitCode::configuration, "kd_cache: ", cache.folder(),
         ": was made with another tokenizer (", cache.meta().tokenizer_sha256.substr(0, 12),
         "..., the model's is ", coder.sha256.substr(0, 12),
         "...); its ids would mean other tokens. Write a cache for this model: trainer kd-cache");
}

/// Only guesses are stored one by one; what is left over is known at some temperatures.
void check_temperature(const KdConfig& kd, const KdCache& cache) {
  const std::vector<double>& known = cache.meta().temperatures;
  if (kd.kd_loss != "exact" ||
      std::find(known.begin(), known.end(), kd.kd_temperature) != known.end())
    return;
  std::string list;
  for (const double temperature : known) list += concat(list.empty() ? "" : ", ", temperature);
  fail(ExitCode::configuration, "kd_loss = exact and kd_temperature = ", kd.kd_temperature, ": ",
       cache.folder(), " holds what the guesses leave over at ",
       list.empty() ? "no temperature" : "temperature " + list,
       "; allowed are those (kd_temperatures when the cache is written), or kd_loss: candidates, a "
       "or b");
}

PreparedData data_of_cache(const RunConfig& config, const KdCache& cache) {
  if (!config.data.eval_dataset.empty() || config.data.val_size > 0)
    fail(ExitCode::configuration, config.data.val_size > 0 ? "val_size" : "eval_dataset",
         " and kd_cache without dataset: the rows are the cache's own, and it says which of them "
         "are held out (kd_held_out when it was written)");
  const KdMeta& meta = cache.meta();
  if (meta.held_out == 0 && (config.saving.eval_strategy != "no" || config.training.do_eval))
    fail(ExitCode::configuration, config.training.do_eval ? "do_eval" : "eval_strategy",
         ": there is nothing to evaluate on: kd_cache ", cache.folder(),
         " holds no held-out documents (kd_held_out when it was written)");
  const int64_t held_out_from = meta.documents - meta.held_out;
  PreparedData data;
  data.report.tokenizer_sha256 = meta.tokenizer_sha256;
  const auto layout = meta.made_with.find("template");
  if (layout != meta.made_with.end()) data.report.chat_template = layout->second;
  ExampleList examples = numbers_between(0, held_out_from);
  if (config.data.max_samples && *config.data.max_samples < held_out_from)
    examples.resize(static_cast<size_t>(*config.data.max_samples));
  if (examples.empty())
    fail(ExitCode::refused_input, "kd_cache: ", cache.folder(),
         ": all its documents are held out; there is nothing to train on");
  data.train = rows_of_cache(config, cache, examples, data.report.train);
  if (meta.held_out > 0) {
    RowsReport report;
    data.eval.push_back(
        {"", rows_of_cache(config, cache, numbers_between(held_out_from, meta.documents), report)});
    data.report.eval.push_back(report);
  }
  return data;
}

}  // namespace

void TeacherRows::append(size_t piece, TeacherTokens& to) const {
  if (document_of_piece_[piece] >= 0) cache_->append(document_of_piece_[piece], to);
}

std::shared_ptr<const RowStore> taught(const RowStore& rows,
                                       const std::shared_ptr<const KdCache>& cache,
                                       const std::string& what,
                                       const std::map<std::string, std::string>& settings) {
  std::vector<int64_t> documents;
  int64_t missing = 0;
  std::string first;
  for (int64_t row = 0; row < rows.rows(); ++row)
    for (const RowPiece& piece : rows.pieces(row)) {
      const KdDocument words = rows.words(piece);
      const bool has_labels = kd_labels(words) > 0;
      const auto found = has_labels ? cache->find(words, rows.closing_id(piece)) : std::nullopt;
      documents.push_back(found.value_or(-1));
      if (!has_labels || found) continue;
      if (++missing == 1) first = rows.place(piece.example);
    }
  if (missing > 0) {
    const std::string differences = differences_text(cache->meta().made_with, settings);
    fail(ExitCode::configuration, "kd_cache: ", cache->folder(), ": holds nothing for ", missing,
         " of the ", documents.size(), " documents ", what, ", the first of them ", first,
         differences.empty() ? "" : ". It was made with other settings: ", differences,
         cache->meta().made_with.contains("kd_generate")
             ? ". Its answers are the teacher's own (kd_generate), so no dataset has them"
             : "",
         ". Write a cache for this data (trainer kd-cache with this config and a new kd_cache), or "
         "leave dataset out to train on the cache's own documents");
  }
  return std::make_shared<const RowStore>(
      rows, std::make_shared<const TeacherRows>(cache, std::move(documents)));
}

std::map<std::string, std::string> kd_data_settings(const RunConfig& config,
                                                    const ChatTemplate& layout) {
  static constexpr std::string_view kKeys[] = {
      "dataset",         "eval_dataset",      "stage",          "cutoff_len",  "packing",
      "enable_thinking", "preserve_thinking", "default_system", "tool_format", "mask_history",
      "train_on_prompt", "max_samples"};
  std::map<std::string, std::string> settings;
  RunConfig copy = config;
  for (const Field& field : fields_of(copy))
    if (std::find(std::begin(kKeys), std::end(kKeys), field.name) != std::end(kKeys))
      settings[std::string(field.name)] = plain_text_of(field);
  settings["template"] = config.finetuning.stage == "pt" ? "" : std::string(layout.name);
  return settings;
}

PreparedData prepare_run_data(const RunConfig& config, const TextCoder& coder,
                              const ChatTemplate& layout, const DataHooks& hooks) {
  if (!config.kd.kd_cache) return prepare_data(config, coder, layout, hooks);
  const auto cache = KdCache::open(*config.kd.kd_cache, hooks);
  check_tokenizer(*cache, coder);
  check_temperature(config.kd, *cache);
  const bool own_rows = config.data.dataset.empty();
  PreparedData data =
      own_rows ? data_of_cache(config, *cache) : prepare_data(config, coder, layout, hooks);
  const auto settings = own_rows ? cache->meta().made_with : kd_data_settings(config, layout);
  data.train = taught(*data.train, cache, "to train on", settings);
  for (EvalRows& rows : data.eval)
    rows.rows = taught(*rows.rows, cache, "to evaluate on", settings);
  data.report.train_fingerprint =
      to_hex(sha256(as_bytes(data.train->fingerprint() + cache->fingerprint())));
  return data;
}

void check_teacher_ids(const RowStore& rows, int64_t vocabulary) {
  if (rows.teacher() == nullptr) return;
  const KdCache& cache = rows.teacher()->cache();
  if (cache.largest_id() >= vocabulary)
    fail(ExitCode::configuration, "kd_cache: ", cache.folder(), ": names token ",
         cache.largest_id(), "; the model's vocabulary holds 0 to ", vocabulary - 1,
         ". Write a cache for this model: trainer kd-cache with its model_name_or_path");
}

}  // namespace isogrid
