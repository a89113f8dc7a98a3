#include <cstdio>
#include <string>
#include <vector>

#include "trainer/commands/commands.h"
#include "trainer/records/chart.h"
#include "trainer/records/loss_charts.h"
#include "trainer/records/report.h"

namespace isogrid {

int run_plot(const Invocation& invocation) {
  std::vector<NamedLog> logs;
  for (const std::string& path : invocation.positional) {
    std::string name = path;
    while (name.size() > 1 && name.back() == '/') name.pop_back();
    logs.push_back({name, read_training_log(path)});
  }
  Chart chart =
      logs.size() == 1 ? loss_chart(logs.front().rows, "Training loss") : overlay_chart(logs);
  if (logs.size() == 1) chart.subtitle = logs.front().name;
  const std::string output = invocation.options.output.value_or("plot.svg");
  write_chart(output, chart);
  std::printf("%s\n", output.c_str());
  return 0;
}

}  // namespace isogrid
