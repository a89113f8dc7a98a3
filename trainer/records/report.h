#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/io_writer.h"
#include "trainer/records/log_rows.h"
#include "trainer/records/training_display.h"

namespace isogrid {

struct Chart;

/// A table under a heading: data report, memory, speed, evaluation, ...
struct ReportSection {
  std::string title;
  std::vector<TableRow> rows;
};

struct Report {
  std::string title = {};              // of the run
  std::string subtitle = {};           // "finished after 114 steps in 12 min"
  std::vector<TableRow> figures = {};  // the few that matter, shown large
  std::vector<LogRow> rows = {};
  std::vector<ReportSection> sections = {};
  std::string settings = {};  // config.resolved.yaml
};

/// One HTML page that asks nothing of a network: styles and curves are inside, light or dark as
/// the reader's system is.
std::string report_html(const Report& report);

/// training_loss.svg, training_loss.png and report.html.
void write_report(const std::string& output_dir, const Report& report,
                  IoCalls& io = IoCalls::system());

/// Draws `chart` as the name's ending asks: .svg or .png; else 64.
void write_chart(const std::string& path, const Chart& chart, IoCalls& io = IoCalls::system());

}  // namespace isogrid
