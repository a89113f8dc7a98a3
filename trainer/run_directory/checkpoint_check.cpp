#include "trainer/run_directory/checkpoint_check.h"

#include <filesystem>

#include "core/error.h"
#include "core/input_directory.h"
#include "core/json.h"
#include "core/manifest.h"
#include "trainer/run_directory/names.h"

namespace isogrid {
namespace {

constexpr uint64_t kMaxManifest = 16 << 20;

CheckpointFacts read_facts(const Json& json, const std::string& name) {
  const JsonFields fields(json, name);
  return {.step = fields.integer("step", 0),
          .run_id = fields.string("run_id"),
          .config_hash = fields.string("config_hash"),
          .data_fingerprint = fields.string("data_fingerprint")};
}

std::string last_part(const std::string& path) {
  const std::filesystem::path whole = std::filesystem::path(path).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

}  // namespace

std::string CheckpointCheck::problems_text() const {
  std::string text;
  for (const std::string& problem : problems) text += "\n  " + problem;
  return text;
}

std::optional<CheckpointFacts> read_checkpoint_facts(const std::string& path) {
  try {
    const InputDirectory folder(path);
    Json json;
    const std::string shown = folder.shown(kManifestName);
    parse_manifest(folder.read(kManifestName, kMaxManifest), shown, &json);
    return read_facts(json, shown);
  } catch (const Error&) {
    return std::nullopt;
  }
}

CheckpointCheck check_checkpoint(const std::string& path) {
  const InputDirectory folder(path);
  CheckpointCheck check;
  check.path = path;
  try {
    const std::string shown = folder.shown(kManifestName);
    Json json;
    const Manifest manifest =
        parse_manifest(folder.read(kManifestName, kMaxManifest), shown, &json);
    check.facts = read_facts(json, shown);
    check.problems = manifest_problems(manifest, folder);
    const auto step = checkpoint_step(last_part(path));
    if (step && *step != check.facts.step)
      check.problems.push_back(
          concat(shown, ": is of step ", check.facts.step, ", the folder's name says ", *step));
  } catch (const Error& error) {
    check.problems.push_back(error.what());
  }
  return check;
}

CheckpointFacts verify_checkpoint(const std::string& path) {
  const CheckpointCheck check = check_checkpoint(path);
  if (check.sound()) return check.facts;
  fail(ExitCode::refused_input, path, ": is no sound checkpoint:", check.problems_text());
}

}  // namespace isogrid
