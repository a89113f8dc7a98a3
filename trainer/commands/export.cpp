#include <cstdio>

#include "core/json.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/export_run.h"
#include "trainer/commands/upload.h"

namespace isogrid {

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
  require_sound(report);
  if (wanted.push_to_hub) {
    const std::string address = upload_folder(*wanted.export_dir, wanted);
    if (!as_json) std::printf("\nuploaded to %s\n", address.c_str());
  }
  return 0;
}

}  // namespace isogrid
