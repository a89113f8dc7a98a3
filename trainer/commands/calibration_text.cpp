#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "data/dataset_entry.h"
#include "data/dataset_files.h"
#include "data/records/record_source.h"
#include "data/rows.h"
#include "trainer/commands/bundled_text.h"
#include "trainer/commands/calibration.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"
#include "trainer/open_model.h"

namespace isogrid {
namespace {

/// Does a dataset hold running text, and not questions and answers?
bool holds_plain_text(const std::string& name, const std::string& folder) {
  const DatasetEntry entry = find_datasets({name}, folder).front();
  if (!entry.is_guessed)
    return entry.format == RecordFormat::alpaca && entry.columns.prompt == "text";
  const DatasetFiles files = find_files(entry);
  if (files.type == FileType::text) return true;
  if (files.paths.empty()) return false;
  const auto bytes = map_file(files, 0);
  const auto source = open_records(files.type, as_text(bytes->bytes()), files.paths[0]);
  RawRecord raw;
  if (!source->next(raw)) return false;
  const std::vector<std::string> columns = source->columns(raw);
  return std::find(columns.begin(), columns.end(), "text") != columns.end();
}

/// `count` of `all`, evenly spread.
int64_t spread(int64_t i, int64_t count, int64_t all) { return i * all / count; }

std::string amount(int64_t rows, int64_t tokens, const std::string& of) {
  return concat(rows, rows == 1 ? " row" : " rows", " (", tokens, " tokens) of ", of);
}

CalibrationText rows_of_dataset(RunConfig config, const std::string& origin) {
  const ExportConfig& wanted = config.exporting;
  config.data.cutoff_len = wanted.export_quantization_maxlen;
  config.data.packing = true;
  config.data.eval_dataset.clear();
  config.data.val_size = 0;
  const DataCoding coding = open_data_coding(config);
  DataProgress progress(config);
  const PreparedData data = prepare_data(config, coding.coder, *coding.layout, progress.hooks());
  const int64_t all = data.train->rows();
  const int64_t count = std::min(all, wanted.export_quantization_nsamples);
  CalibrationText text;
  int64_t tokens = 0;
  for (int64_t i = 0; i < count; ++i) {
    text.rows.emplace_back();
    data.train->append_row(spread(i, count, all), text.rows.back());
    tokens += text.rows.back().tokens();
  }
  text.origin = amount(count, tokens, origin);
  return text;
}

CalibrationText rows_of_bundled_text(const RunConfig& config) {
  const ExportConfig& wanted = config.exporting;
  const TextCoder coder = open_text_coder(model_folder_path(config));
  const auto length = static_cast<size_t>(wanted.export_quantization_maxlen);
  CalibrationText text;
  int64_t tokens = 0;
  text.rows.emplace_back();
  const auto close_row = [&](Batch& row) {
    if (row.input_ids.empty()) return;
    row.document_ends = {row.tokens()};
    tokens += row.tokens();
  };
  for (const std::string& line : bundled_lines()) {
    for (const int32_t id : coder.tokenizer.encode(line + "\n")) {
      if (text.rows.back().input_ids.size() == length) {
        if (static_cast<int64_t>(text.rows.size()) == wanted.export_quantization_nsamples) break;
        close_row(text.rows.back());
        text.rows.emplace_back();
      }
      text.rows.back().input_ids.push_back(id);
    }
  }
  close_row(text.rows.back());
  text.origin = amount(
      static_cast<int64_t>(text.rows.size()), tokens,
      "the bundled text (export_quantization_dataset names text of your own, which is better)");
  return text;
}

}  // namespace

CalibrationText open_calibration_text(const RunConfig& config) {
  RunConfig own = config;
  if (const auto& name = config.exporting.export_quantization_dataset) {
    own.data.dataset = {*name};
    own.data.interleave_probs.clear();
    if (holds_plain_text(*name, config.data.dataset_dir)) own.finetuning.stage = "pt";
    return rows_of_dataset(own, concat("export_quantization_dataset ", *name));
  }
  if (config.data.dataset.empty()) return rows_of_bundled_text(config);
  std::string names;
  for (const std::string& name : config.data.dataset) names += (names.empty() ? "" : ", ") + name;
  return rows_of_dataset(own, "dataset " + names);
}

}  // namespace isogrid
