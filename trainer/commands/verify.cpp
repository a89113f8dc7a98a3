#include <algorithm>
#include <cstdio>
#include <string>

#include "core/error.h"
#include "core/io.h"
#include "core/json.h"
#include "models/hub_cache.h"
#include "models/verification.h"
#include "trainer/commands/commands.h"

namespace isogrid {
namespace {

Json report_json(const std::string& path, const Verification& report) {
  Json checks = Json::array(), problems = Json::array();
  for (const auto& [subject, finding, sound] : report.checks) {
    checks.push_back({{"subject", subject}, {"ok", sound}, {"finding", finding}});
    if (!sound) problems.push_back(finding);
  }
  return {{"path", path},          {"ok", report.sound()}, {"tensors", report.tensors},
          {"bytes", report.bytes}, {"problems", problems}, {"checks", checks}};
}

void print_report(const std::string& path, const Verification& report) {
  size_t width = 0;
  for (const auto& check : report.checks) width = std::max(width, check.subject.size());
  std::printf("%s\n", path.c_str());
  for (const auto& [subject, finding, sound] : report.checks)
    std::printf("  %-*s  %s\n", static_cast<int>(width), subject.c_str(),
                sound ? finding.c_str() : "DAMAGED, see below");
  if (report.sound())
    std::printf("sound: %zu checks, %llu tensors, %s\n", report.checks.size(),
                static_cast<unsigned long long>(report.tensors), human_size(report.bytes).c_str());
}

}  // namespace

int run_verify(const Invocation& invocation) {
  if (invocation.positional.empty())
    fail(ExitCode::usage, "verify: name a folder: trainer verify DIR");
  const std::string path = resolve_model(invocation.positional.front());
  const Verification report = verify_model(path);
  if (invocation.options.json)
    std::fputs(dump_json(report_json(path, report)).c_str(), stdout);
  else
    print_report(path, report);
  if (report.sound()) return 0;
  std::string problems;
  for (const auto& check : report.checks)
    if (!check.sound) problems += (problems.empty() ? "" : "\n") + check.finding;
  fail(ExitCode::refused_input, problems);
}

}  // namespace isogrid
