#include "trainer/commands/export_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/format.h"
#include "core/json.h"
#include "core/version.h"
#include "trainer/records/report.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string percent(double share, int digits) { return fixed(100 * share, digits) + " %"; }

const std::vector<std::string>& columns() {
  static const std::vector<std::string> names{
      "export",         "size",     "of 16 bit", "bits/weight", "perplexity", "KL",
      "same top token", "tokens/s", "memory",    "written in",  "check"};
  return names;
}

std::string original_name(const ExportReport& report) {
  return report.adapters.empty() ? "the model itself" : "the merged model";
}

/// A record as cells in the order of columns().
std::vector<std::string> cells(const ExportReport& report, const ExportRecord& record) {
  std::vector<std::string> row{record.format, human_bytes(record.bytes)};
  row.push_back(report.bytes_16_bit == 0 ? ""
                                         : percent(static_cast<double>(record.bytes) /
                                                       static_cast<double>(report.bytes_16_bit),
                                                   1));
  row.push_back(record.bits_per_weight > 0 ? fixed(record.bits_per_weight, 2) : "");
  if (record.fidelity) {
    row.push_back(fixed(std::exp(record.fidelity->loss), 3));
    row.push_back(fixed(record.fidelity->kl, 5));
    row.push_back(percent(record.fidelity->same_top, 2));
  } else {
    row.insert(row.end(), 3, "");
  }
  row.push_back(record.generation ? fixed(record.generation->tokens_per_second, 1) : "");
  row.push_back(record.generation
                    ? human_bytes(static_cast<uint64_t>(record.generation->peak_resident_bytes))
                    : "");
  row.push_back(human_seconds(record.seconds));
  row.push_back(!record.problem.empty()      ? "FAILED"
                : !record.unmeasured.empty() ? "sound, not measured"
                                             : "sound");
  return row;
}

std::string explanation(const ExportReport& report) {
  if (report.tokens == 0) return "Nothing was measured.";
  return concat(
      "Measured on ", report.tokens, " tokens of ", report.text, "; ", original_name(report),
      " in float32 has perplexity ", fixed(std::exp(report.original_loss), 3),
      ", and KL (in nats) and same top token compare with it. Tokens per second and memory "
      "are of a short answer by this program on this machine, the program's own libraries "
      "included.");
}

std::string joined_cells(const std::vector<std::string>& row) {
  std::string line = "|";
  for (const std::string& cell : row) line += concat(" ", cell, " |");
  return line + "\n";
}

std::string remarks(const ExportReport& report) {
  std::string text;
  for (const ExportRecord& record : report.records) {
    if (!record.problem.empty()) text += concat("- ", record.format, ": ", record.problem, "\n");
    if (!record.unmeasured.empty())
      text += concat("- ", record.format, ": ", record.unmeasured, "\n");
  }
  return text;
}

Report as_page(const ExportReport& report) {
  Report page;
  page.title = "Exports of " + report.model;
  page.subtitle = explanation(report);
  for (const ExportRecord& record : report.records) {
    ReportSection section{.title = record.format, .rows = {{"path", record.path}}};
    const std::vector<std::string> row = cells(report, record);
    for (size_t i = 1; i < row.size(); ++i)
      if (!row[i].empty()) section.rows.push_back({columns()[i], row[i]});
    if (!record.problem.empty()) section.rows.push_back({"problem", record.problem});
    if (!record.unmeasured.empty()) section.rows.push_back({"remark", record.unmeasured});
    page.sections.push_back(std::move(section));
  }
  return page;
}

}  // namespace

bool ExportReport::sound() const {
  return std::all_of(records.begin(), records.end(),
                     [](const ExportRecord& record) { return record.problem.empty(); });
}

std::string modelfile_name(const ExportReport& report, const ExportRecord& record) {
  const auto is_model = [](const ExportRecord& each) {
    return each.format.starts_with("gguf:") && each.format != "gguf:lora";
  };
  if (std::count_if(report.records.begin(), report.records.end(), is_model) <= 1)
    return "Modelfile";
  return std::filesystem::path(record.path).stem().string() + ".Modelfile";
}

Json report_json(const ExportReport& report) {
  Json exports = Json::array();
  for (const ExportRecord& record : report.records) {
    Json entry = {{"format", record.format},
                  {"path", record.path},
                  {"bytes", record.bytes},
                  {"seconds", record.seconds},
                  {"bits_per_weight", record.bits_per_weight},
                  {"ok", record.problem.empty()}};
    if (report.bytes_16_bit > 0)
      entry["size_ratio"] =
          static_cast<double>(record.bytes) / static_cast<double>(report.bytes_16_bit);
    if (record.fidelity) {
      entry["loss"] = record.fidelity->loss;
      entry["perplexity"] = std::exp(record.fidelity->loss);
      entry["kl"] = record.fidelity->kl;
      entry["same_top_token"] = record.fidelity->same_top;
    }
    if (record.generation) {
      entry["tokens_per_second"] = record.generation->tokens_per_second;
      entry["peak_resident_bytes"] = record.generation->peak_resident_bytes;
    }
    if (!record.unmeasured.empty()) entry["unmeasured"] = record.unmeasured;
    if (!record.problem.empty()) entry["problem"] = record.problem;
    exports.push_back(std::move(entry));
  }
  Json json = {{"version", program_version()}, {"model", report.model},
               {"adapters", report.adapters},  {"text", report.text},
               {"tokens", report.tokens},      {"bytes_16_bit", report.bytes_16_bit}};
  if (report.tokens > 0)
    json["original"] = {{"loss", report.original_loss},
                        {"perplexity", std::exp(report.original_loss)}};
  json["exports"] = std::move(exports);
  return json;
}

std::string report_markdown(const ExportReport& report) {
  std::string text = concat("# Exports of ", report.model, "\n\n");
  for (const std::string& adapter : report.adapters) text += concat("Adapter: ", adapter, "\n\n");
  text += joined_cells(columns()) + "|---|";
  for (size_t i = 1; i < columns().size(); ++i) text += "---:|";
  text += "\n";
  for (const ExportRecord& record : report.records) text += joined_cells(cells(report, record));
  text += concat("\n", explanation(report), "\n");
  const std::string notes = remarks(report);
  if (!notes.empty()) text += "\n" + notes;
  text += "\n";
  for (const ExportRecord& record : report.records)
    text += concat("- ", record.format, ": `", record.path, "`\n");
  return text;
}

void write_export_report(const std::string& directory, const ExportReport& report, IoCalls& io) {
  const std::filesystem::path folder(directory);
  const auto write = [&](const char* name, const std::string& text) {
    write_file_durably((folder / name).string(), as_bytes(text), io);
  };
  write("export_report.json", dump_json(report_json(report)));
  write("export_report.md", report_markdown(report));
  write("export_report.html", report_html(as_page(report)));
}

std::string report_table(const ExportReport& report) {
  Table table(columns());
  for (const ExportRecord& record : report.records) table.add(cells(report, record));
  return table.text() + explanation(report) + "\n" + remarks(report);
}

}  // namespace isogrid
