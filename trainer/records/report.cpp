#include "trainer/records/report.h"

#include <filesystem>

#include "core/error.h"
#include "core/version.h"
#include "trainer/records/chart.h"
#include "trainer/records/loss_charts.h"

namespace isogrid {
namespace {

constexpr std::string_view kStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --background: #ffffff; --ink: #1c2733; --soft-ink: #66727f; --grid: #e6e9ed;
  --series-0: #0b6bb8; --series-1: #d9600a; --series-2: #0a8f6c; --series-3: #b0478a;
  --series-4: #a87500; --series-5: #2f8fce; --series-6: #6b4fa3; --series-7: #4d5761;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101418; --background: #171c22; --ink: #e4e9ee; --soft-ink: #93a0ad; --grid: #2a323b;
    --series-0: #4da3ea; --series-1: #f28c43; --series-2: #36c79e; --series-3: #dd7fba;
    --series-4: #e0b13f; --series-5: #7fc4f0; --series-6: #a48be0; --series-7: #a9b4bf;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
       font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 12px; }
p { margin: 0; color: var(--soft-ink); }
section { background: var(--background); border: 1px solid var(--grid); border-radius: 10px;
          padding: 20px 22px; margin-top: 20px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 16px; }
.figures b { display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft-ink); font-size: 13px; }
.chart { padding: 8px 10px; }
.chart > svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; }
td { padding: 5px 0; border-top: 1px solid var(--grid); vertical-align: top;
     font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
tr:first-child td { border-top: 0; }
td:first-child { color: var(--soft-ink); width: 34%; padding-right: 16px; }
pre { margin: 0; overflow-x: auto; font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; }
summary { cursor: pointer; font-weight: 600; font-size: 17px; }
details[open] summary { margin-bottom: 12px; }
footer { margin-top: 24px; color: var(--soft-ink); font-size: 13px; }
@media print { body { background: none; } section { break-inside: avoid; } }
)css";

std::string chart_section(const Chart& chart, double height) {
  return concat("<section class=\"chart\">\n",
                to_svg(draw_chart(chart, 900, height), css_palette()), "</section>\n");
}

std::string table_html(const std::vector<TableRow>& rows) {
  std::string html = "<table>\n";
  for (const TableRow& row : rows)
    html += concat("<tr><td>", escaped_markup(row.label), "</td><td>", escaped_markup(row.value),
                   "</td></tr>\n");
  return html + "</table>\n";
}

std::string figures_html(const std::vector<TableRow>& figures) {
  std::string html = "<section class=\"figures\">\n";
  for (const TableRow& figure : figures)
    html += concat("<div><b>", escaped_markup(figure.value), "</b><span>",
                   escaped_markup(figure.label), "</span></div>\n");
  return html + "</section>\n";
}

void write_text(const std::string& path, const std::string& text, IoCalls& io) {
  write_file_durably(path, as_bytes(text), io);
}

}  // namespace

std::string report_html(const Report& report) {
  std::string html = concat(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
      escaped_markup(report.title), "</title>\n<style>", kStyle, "</style>\n</head>\n<body>\n",
      "<main>\n<h1>", escaped_markup(report.title), "</h1>\n<p>", escaped_markup(report.subtitle),
      "</p>\n");
  if (!report.figures.empty()) html += figures_html(report.figures);
  if (!report.rows.empty()) html += chart_section(loss_chart(report.rows, "Training loss"), 460);
  for (const Chart& chart : other_charts(report.rows)) html += chart_section(chart, 280);
  for (const ReportSection& section : report.sections)
    html += concat("<section>\n<h2>", escaped_markup(section.title), "</h2>\n",
                   table_html(section.rows), "</section>\n");
  if (!report.settings.empty())
    html += concat("<section>\n<details>\n<summary>Settings</summary>\n<pre>",
                   escaped_markup(report.settings), "</pre>\n</details>\n</section>\n");
  html += concat("<footer>Isogrid ", program_version(), ", commit ", program_commit(),
                 "</footer>\n</main>\n</body>\n</html>\n");
  return html;
}

void write_chart(const std::string& path, const Chart& chart, IoCalls& io) {
  const Drawing drawing = draw_chart(chart, 900, 520);
  if (path.ends_with(".svg"))
    write_text(path, to_svg(drawing, light_palette()), io);
  else if (path.ends_with(".png"))
    write_text(path, to_png(drawing, 2), io);
  else
    fail(ExitCode::usage, "--output ", path, ": a picture's name ends in .svg or .png");
}

void write_report(const std::string& output_dir, const Report& report, IoCalls& io) {
  Chart chart = loss_chart(report.rows, "Training loss");
  chart.subtitle = report.title;
  const std::filesystem::path folder(output_dir);
  write_chart((folder / "training_loss.svg").string(), chart, io);
  write_chart((folder / "training_loss.png").string(), chart, io);
  write_text((folder / "report.html").string(), report_html(report), io);
}

}  // namespace isogrid
