#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/format.h"
#include "core/input_directory.h"
#include "core/io.h"
#include "core/io_writer.h"
#include "core/json.h"
#include "data/kd_cache.h"
#include "export/lut_check.h"
#include "models/hub_cache.h"
#include "models/verification.h"
#include "models/weights.h"
#include "trainer/commands/commands.h"
#include "trainer/run_directory/checkpoint_store.h"
#include "trainer/run_directory/names.h"
#include "trainer/run_directory/run_directory.h"

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

/// A checkpoint without its manifest would look like any model's folder.
void require_checkpoint(const std::string& path, Verification& report) {
  const CheckpointCheck check = check_checkpoint(path);
  for (const std::string& problem : check.problems)
    report.checks.push_back({"checkpoint", problem, false});
  if (check.sound())
    report.checks.push_back({"checkpoint", concat("ok, of step ", check.facts.step), true});
}

void add_folder(const std::string& name, const Verification& part, Verification& whole) {
  for (const auto& [subject, finding, sound] : part.checks)
    whole.checks.push_back({name + "/" + subject, finding, sound});
  whole.tensors += part.tensors;
  whole.bytes += part.bytes;
}

/// Every checkpoint, and what is published once the run is done.
Verification verify_run(const std::string& path) {
  Verification report;
  const OutputDirectory folder(path);
  const CheckpointStore store(folder, "");
  for (const int64_t step : store.steps()) {
    const std::string checkpoint = store.path_of(step);
    Verification part = verify_model(checkpoint);
    require_checkpoint(checkpoint, part);
    add_folder(checkpoint_name(step), part, report);
  }
  const InputDirectory files(path);
  if (files.has("config.json") || files.has("adapter_config.json"))
    add_folder(".", verify_model(path), report);
  if (report.checks.empty())
    report.checks.push_back({"checkpoints", "ok, there is none yet", true});
  return report;
}

Verification verify_kd_cache(const std::string& path) {
  Verification report;
  try {
    const auto cache = KdCache::open(path);
    const KdMeta& meta = cache->meta();
    report.checks.push_back({"teacher's cache", concat("ok, ", meta.documents, " documents, ",
                                                       meta.label_tokens, " labelled tokens")});
    report.tensors = static_cast<uint64_t>(meta.shards()) * plan_kd_shard(meta, 1).tensors.size();
    report.bytes = static_cast<uint64_t>(meta.label_tokens) * meta.bytes_per_label();
  } catch (const Error& error) {
    report.checks.push_back({"teacher's cache", error.what(), false});
  }
  return report;
}

/// The vectors of a bundle for a device, made again by its layers.
void add_lut_check(const std::string& path, Verification& report) {
  try {
    CausalLm model = load_model(open_model_folder(path), {});
    report.checks.push_back(
        {"check vectors", concat("ok, of ", check_lut_vectors(model, path), " layers")});
  } catch (const Error& error) {
    report.checks.push_back({"check vectors", error.what(), false});
  }
}

Verification verify(const std::string& path) {
  namespace fs = std::filesystem;
  if (is_kd_cache(path)) return verify_kd_cache(path);
  if (is_run_directory(path)) return verify_run(path);
  Verification report = verify_model(path);
  if (has_lut_check(path) && report.sound()) add_lut_check(path, report);
  const fs::path folder = fs::path(path).lexically_normal() / "";
  if (checkpoint_step(folder.parent_path().filename().string()) &&
      is_run_directory(fs::absolute(folder.parent_path()).parent_path().string()))
    require_checkpoint(path, report);
  return report;
}

}  // namespace

int run_verify(const Invocation& invocation) {
  if (invocation.positional.empty())
    fail(ExitCode::usage, "verify: name a folder: trainer verify DIR");
  const std::string path = resolve_model(invocation.positional.front());
  const Verification report = verify(path);
  if (invocation.options.json)
    std::fputs(dump_json(report_json(path, report)).c_str(), stdout);
  else
    print_report(path, report);
  if (report.sound()) return 0;
  fail(ExitCode::refused_input, problems_text(report));
}

}  // namespace isogrid
