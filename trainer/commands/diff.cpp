#include <cstdio>
#include <string>

#include "core/error.h"
#include "core/json.h"
#include "trainer/commands/commands.h"
#include "trainer/records/run_diff.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

constexpr size_t kMostShown = 20;

void print_differences(const std::string& title, const std::vector<Difference>& differences,
                       const Invocation& invocation) {
  if (differences.empty()) return;
  Table table({title, invocation.positional[0], invocation.positional[1]});
  for (size_t i = 0; i < std::min(differences.size(), kMostShown); ++i) {
    const auto& [what, first, second] = differences[i];
    table.add({what, first.empty() ? "-" : first, second.empty() ? "-" : second});
  }
  std::fputs(table.text().c_str(), stdout);
  if (differences.size() > kMostShown)
    std::printf("and %zu more\n", differences.size() - kMostShown);
  std::printf("\n");
}

}  // namespace

int run_diff(const Invocation& invocation) {
  const RunDifferences found = compare_runs(invocation.positional[0], invocation.positional[1]);
  if (invocation.options.json) {
    std::fputs(dump_json(differences_json(found)).c_str(), stdout);
    return 0;
  }
  print_differences("setting", found.settings, invocation);
  print_differences("fact", found.facts, invocation);
  if (found.step) {
    print_differences(concat("step ", *found.step), found.at_step, invocation);
    std::printf("%lld logged steps are equal; step %lld is the first that differs.\n",
                static_cast<long long>(found.steps_compared), static_cast<long long>(*found.step));
  } else {
    std::printf("All %lld logged steps are equal.\n", static_cast<long long>(found.steps_compared));
  }
  return 0;
}

}  // namespace isogrid
