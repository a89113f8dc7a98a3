#include "data/data_report.h"

#include <cstdio>

#include "core/error.h"
#include "core/format.h"
#include "core/json.h"

namespace isogrid {
namespace {

std::string counted(int64_t number, const char* one, const char* many) {
  return concat(with_commas(static_cast<uint64_t>(number)), " ", number == 1 ? one : many);
}

std::string percent(double share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.1f %%", share * 100);
  return text;
}

double share_of(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string rows_line(const std::string& what, const RowsReport& rows) {
  std::string line =
      concat(what, ": ", counted(rows.examples, "example", "examples"), ", ",
             counted(rows.tokens, "token", "tokens"), ", ",
             with_commas(static_cast<uint64_t>(rows.label_tokens)), " of them trained (",
             percent(share_of(rows.label_tokens, rows.tokens)), ")");
  if (rows.packed)
    line += concat("; packed into ", counted(rows.rows, "row", "rows"), ", ",
                   percent(rows.packing_efficiency()), " full");
  return line + "\n";
}

std::string dataset_lines(const DatasetReport& dataset) {
  const EncodeCounts& counts = dataset.counts;
  std::string text = concat("  ", dataset.name, ": ", counted(counts.records, "record", "records"),
                            ", ", counted(counts.examples, "example", "examples"), ", ",
                            counted(counts.tokens, "token", "tokens"),
                            dataset.was_cached ? " (cached)" : "", "\n");
  if (counts.truncated_examples > 0)
    text +=
        concat("    truncated: ", counted(counts.truncated_examples, "example", "examples"), ", ",
               counted(counts.truncated_tokens, "token", "tokens"), " cut off (",
               percent(share_of(counts.truncated_tokens, counts.tokens + counts.truncated_tokens)),
               "); cutoff_len decides\n");
  if (counts.unlabelled > 0)
    text += concat("    left out: ", counted(counts.unlabelled, "example", "examples"),
                   " with nothing to train on\n");
  if (counts.calls_without_text > 0)
    text += concat("    in ", counted(counts.calls_without_text, "example", "examples"),
                   " words beside tool calls are left out\n");
  if (counts.bad_records > 0)
    text += concat("    unusable: ", counted(counts.bad_records, "record", "records"), "\n");
  for (const std::string& line : counts.first_bad) text += concat("      ", line, "\n");
  return text;
}

Json rows_json(const RowsReport& rows) {
  Json json{{"name", rows.name},
            {"rows", rows.rows},
            {"examples", rows.examples},
            {"tokens", rows.tokens},
            {"label_tokens", rows.label_tokens},
            {"longest_row", rows.longest_row},
            {"dropped_tokens", rows.dropped_tokens},
            {"packed", rows.packed}};
  if (rows.packed) json["packing_efficiency"] = rows.packing_efficiency();
  return json;
}

Json dataset_json(const DatasetReport& dataset) {
  const EncodeCounts& counts = dataset.counts;
  Json json{{"name", dataset.name},
            {"records", counts.records},
            {"examples", counts.examples},
            {"tokens", counts.tokens},
            {"label_tokens", counts.label_tokens},
            {"truncated_examples", counts.truncated_examples},
            {"truncated_tokens", counts.truncated_tokens},
            {"without_labels", counts.unlabelled},
            {"bad_records", counts.bad_records},
            {"first_bad", counts.first_bad}};
  for (const DatasetReport::File& file : dataset.files)
    json["files"].push_back({{"name", file.path},
                             {"bytes", file.bytes},
                             {"sha256", file.sha256},
                             {"records", file.records}});
  return json;
}

}  // namespace

double RowsReport::packing_efficiency() const {
  return packed ? share_of(tokens, rows * cutoff_len) : 0;
}

std::string report_text(const DataReport& report) {
  std::string text = rows_line("training", report.train);
  for (const RowsReport& rows : report.eval)
    text += rows_line(rows.name.empty() ? "evaluation" : concat("evaluation on ", rows.name), rows);
  for (const DatasetReport& dataset : report.datasets) text += dataset_lines(dataset);
  return text;
}

Json report_json(const DataReport& report) {
  Json json{{"template", report.chat_template},
            {"tokenizer_sha256", report.tokenizer_sha256},
            {"fingerprint", report.train_fingerprint},
            {"train", rows_json(report.train)},
            {"eval", Json::array()},
            {"datasets", Json::array()}};
  if (report.today) json["today"] = {report.today->year, report.today->month, report.today->day};
  for (const RowsReport& rows : report.eval) json["eval"].push_back(rows_json(rows));
  for (const DatasetReport& dataset : report.datasets)
    json["datasets"].push_back(dataset_json(dataset));
  return json;
}

}  // namespace isogrid
