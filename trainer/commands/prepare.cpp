#include <cstdio>

#include "core/json.h"
#include "data/kd_rows.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"

namespace isogrid {

int run_prepare(const Invocation& invocation) {
  const DataCoding coding = open_data_coding(invocation.config);
  DataProgress progress(invocation.config);
  const PreparedData data =
      prepare_run_data(invocation.config, coding.coder, *coding.layout, progress.hooks());
  if (invocation.options.json) {
    std::fputs(dump_json(report_json(data.report)).c_str(), stdout);
    return 0;
  }
  std::fputs(report_text(data.report).c_str(), stdout);
  for (const DatasetReport& dataset : data.report.datasets)
    std::printf("%s %s\n", dataset.was_cached ? "found" : "written", dataset.cache_path.c_str());
  return 0;
}

}  // namespace isogrid
