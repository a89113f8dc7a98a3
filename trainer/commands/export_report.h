#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/io_writer.h"
#include "core/json_fwd.h"
#include "trainer/commands/export_measure.h"

namespace isogrid {

/// One thing that was written, and what was found when it was read again.
struct ExportRecord {
  std::string format = {};       // "gguf:q4_0"
  std::string folder_name = {};  // "gguf-q4_0"
  std::string path = {};
  uint64_t bytes = 0;  // of its weights
  double seconds = 0;  // to write it
  double bits_per_weight = 0;
  std::optional<Fidelity> fidelity = {};
  std::optional<GenerationFigures> generation = {};
  std::string unmeasured = {};  // why there are no figures, where that is as it should be
  std::string problem = {};     // what is wrong with it; empty: it is sound
};

/// All that one export wrote.
struct ExportReport {
  std::string model = {};  // as the user named it
  std::vector<std::string> adapters = {};
  std::string text = {};  // what was read to measure: "the evaluation rows"
  int64_t tokens = 0;
  double original_loss = 0;   // of the merged model in float32
  uint64_t bytes_16_bit = 0;  // the same weights in two bytes each
  std::vector<ExportRecord> records = {};

  bool sound() const;
};

/// "Modelfile", or one name for each where there are several GGUF files.
std::string modelfile_name(const ExportReport& report, const ExportRecord& record);

Json report_json(const ExportReport& report);
std::string report_markdown(const ExportReport& report);

/// export_report.json, export_report.md and export_report.html.
void write_export_report(const std::string& directory, const ExportReport& report,
                         IoCalls& io = IoCalls::system());

/// The table of report_markdown() for a terminal.
std::string report_table(const ExportReport& report);

}  // namespace isogrid
