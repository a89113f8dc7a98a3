#include <cstdio>

#include "core/json.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/export_run.h"
#include "trainer/commands/other_model.h"
#include "trainer/commands/sample_answer.h"
#include "trainer/commands/upload.h"

namespace isogrid {

namespace {

/// A device's layers are looked at before they are carried away: an answer of the model they were
/// made of, and theirs.
void print_samples(const Invocation& invocation, const ExportReport& report) {
  constexpr const char* kQuestion = "What is the capital of France?";
  const std::string prompt = invocation.options.prompt.value_or(kQuestion);
  for (const ExportRecord& record : report.records) {
    if (!record.format.starts_with("lut") || !record.problem.empty()) continue;
    std::printf("\n> %s\nbefore: %s\nafter:  %s\n", prompt.c_str(),
                sample_answer(invocation.config, prompt).c_str(),
                sample_answer(with_model(invocation.config, record.path), prompt).c_str());
  }
}

}  // namespace

int run_export(const Invocation& invocation) {
  const bool as_json = invocation.options.json;
  const ExportConfig& wanted = invocation.config.exporting;
  check_upload(wanted);
  Json written = Json::array();
  const ExportReport report = export_everything(invocation.config, [&](const ExportRecord& record) {
    written.push_back({{"format", record.folder_name}, {"path", record.path}});
    if (as_json) return;
    std::printf("%s: %s\n", record.folder_name.c_str(), record.path.c_str());
    std::fflush(stdout);
  });
  if (as_json)
    std::fputs(dump_json(written).c_str(), stdout);
  else if (report.tokens > 0)
    std::printf("\n%s", report_table(report).c_str());
  if (!as_json) print_samples(invocation, report);
  require_sound(report);
  if (wanted.push_to_hub) {
    const std::string address = upload_folder(*wanted.export_dir, wanted);
    if (!as_json) std::printf("\nuploaded to %s\n", address.c_str());
  }
  return 0;
}

}  // namespace isogrid
