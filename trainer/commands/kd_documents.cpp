#include "trainer/commands/kd_documents.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "data/kd_rows.h"
#include "data/row_plan.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"

namespace isogrid {
namespace {

/// The settings under which each rendering is prepared.
RunConfig common_settings(const RunConfig& config) {
  RunConfig common = config;
  common.kd.kd_cache.reset();
  const KdConfig& kd = config.kd;
  if (kd.kd_length) {
    if (config.is_given("cutoff_len") && config.data.cutoff_len != *kd.kd_length)
      fail(ExitCode::configuration, "kd_length = ", *kd.kd_length,
           " and cutoff_len = ", config.data.cutoff_len, ": they say the same; leave one out");
    common.data.cutoff_len = *kd.kd_length;
  }
  if (kd.kd_dataset_format) {
    const std::string stage = *kd.kd_dataset_format == "plain" ? "pt" : "sft";
    if (config.is_given("stage") && config.finetuning.stage != stage)
      fail(ExitCode::configuration, "kd_dataset_format = ", *kd.kd_dataset_format,
           " and stage = ", config.finetuning.stage, ": they say the same; leave one out");
    common.finetuning.stage = stage;
  }
  if (kd.kd_generate && common.finetuning.stage == "pt")
    fail(ExitCode::configuration,
         "kd_generate and stage: pt (kd_dataset_format: plain): plain text has no prompt to "
         "answer");
  if (kd.kd_generate && common.data.train_on_prompt)
    fail(ExitCode::configuration,
         "kd_generate and train_on_prompt: only what the teacher answers is kept; leave one out");
  const bool has_rows_held_out = config.data.val_size > 0 || !config.data.eval_dataset.empty();
  if (has_rows_held_out && config.is_given("kd_held_out"))
    fail(ExitCode::configuration, "kd_held_out = ", kd.kd_held_out, " and ",
         config.data.val_size > 0 ? "val_size" : "eval_dataset",
         ": both say which rows are held out; leave one out");
  if (!has_rows_held_out) common.data.val_size = kd.kd_held_out;
  return common;
}

RunConfig with_thinking(RunConfig config, bool thinks) {
  config.conversation.enable_thinking = thinks;
  return config;
}

/// Messages joined as raw text, without a template's marks.
RunConfig without_template(RunConfig config) {
  config.conversation.chat_template = "empty";
  return config;
}

std::vector<RunConfig> renderings(const RunConfig& config) {
  const RunConfig common = common_settings(config);
  if (!config.kd.kd_thinking) return {common};
  const std::string& wish = *config.kd.kd_thinking;
  if (common.finetuning.stage == "pt") {
    if (wish == "none") return {common};
    fail(ExitCode::configuration, "kd_thinking = ", wish,
         ": plain text (stage: pt, kd_dataset_format: plain) has one rendering, none");
  }
  const RunConfig off = with_thinking(common, false), on = with_thinking(common, true);
  if (wish == "none") return {without_template(common)};
  if (wish == "false") return {off};
  if (wish == "true") return {on};
  if (wish == "both") return {off, on};
  return {on, off, without_template(common)};
}

void add_rows(const RowStore& rows, KdDocuments& documents) {
  for (int64_t row = 0; row < rows.rows(); ++row)
    for (const RowPiece& piece : rows.pieces(row)) {
      const KdDocument words = rows.words(piece);
      if (kd_labels(words) == 0) continue;
      documents.all.push_back(words);
      const int32_t closing = rows.closing_id(piece);
      if (closing != 0 && documents.closing_id != 0 && closing != documents.closing_id)
        fail(ExitCode::internal, "two renderings close answers by different tokens");
      if (closing != 0) documents.closing_id = closing;
    }
}

/// So many of them by chance, held-out ones in their share.
void draw_documents(int64_t count, uint64_t seed, KdDocuments& documents) {
  const auto all = static_cast<int64_t>(documents.all.size());
  if (count >= all) return;
  const auto held_out = static_cast<int64_t>(
      std::llround(static_cast<double>(count) * static_cast<double>(documents.held_out) /
                   static_cast<double>(all)));
  const auto drawn = [&](int64_t first, int64_t last, int64_t wanted) {
    ExampleList numbers(static_cast<size_t>(last - first));
    std::iota(numbers.begin(), numbers.end(), static_cast<uint64_t>(first));
    ExampleList some = draw_examples(numbers, wanted, seed);
    std::sort(some.begin(), some.end());
    return some;
  };
  std::vector<KdDocument> kept;
  for (const uint64_t i : drawn(0, all - documents.held_out, count - held_out))
    kept.push_back(documents.all[i]);
  for (const uint64_t i : drawn(all - documents.held_out, all, held_out))
    kept.push_back(documents.all[i]);
  documents.all = std::move(kept);
  documents.held_out = held_out;
}

}  // namespace

KdDocuments prepare_kd_documents(const RunConfig& config) {
  if (config.data.dataset.empty())
    fail(ExitCode::configuration, "dataset: is missing; name what the teacher is to read");
  KdDocuments documents;
  DataProgress progress(config);
  for (const RunConfig& rendering : renderings(config)) {
    const DataCoding coding = open_data_coding(rendering);
    documents.data.push_back(
        prepare_data(rendering, coding.coder, *coding.layout, progress.hooks()));
    documents.tokenizer_sha256 = coding.coder.sha256;
    if (documents.made_with.empty())
      documents.made_with = kd_data_settings(rendering, *coding.layout);
  }
  for (const PreparedData& data : documents.data) add_rows(*data.train, documents);
  const size_t trained = documents.all.size();
  for (const PreparedData& data : documents.data)
    for (const EvalRows& rows : data.eval) add_rows(*rows.rows, documents);
  documents.held_out = static_cast<int64_t>(documents.all.size() - trained);
  if (config.kd.kd_num_sequences)
    draw_documents(*config.kd.kd_num_sequences, static_cast<uint64_t>(config.run.seed), documents);
  if (documents.all.empty())
    fail(ExitCode::refused_input, "dataset: holds no document with anything to predict");
  return documents;
}

}  // namespace isogrid
