#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/format.h"
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
                static_cast<unsigned long long>(report.tensors), human_bytes(report.bytes).c_str());
}

/// Two checks may stumble over the same damage.
std::string problems_text(const Verification& report) {
  std::vector<std::string> lines;
  for (const auto& check : report.checks)
    if (!check.sound && std::find(lines.begin(), lines.end(), check.finding) == lines.end())
      lines.push_back(check.finding);
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
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
  fail(ExitCode::refused_input, problems_text(report));
}

}  // namespace isogrid
