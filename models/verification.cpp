#include "models/verification.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "core/error.h"
#include "core/finite_scan.h"
#include "core/format.h"
#include "core/json_reader.h"
#include "core/manifest.h"
#include "models/folder.h"
#include "models/weight_index.h"

namespace isogrid {
namespace {

constexpr uint64_t kMaxJsonFile = 256 << 20;  // tokenizer.json is the largest of them
constexpr size_t kMaxNamed = 20;

class Verifier {
 public:
  explicit Verifier(Verification& report) : report_(report) {}

  /// Runs one check; what it throws becomes its finding.
  template <typename Check>
  void check(const std::string& subject, Check run) {
    try {
      const std::string note = run();
      report_.checks.push_back({subject, note.empty() ? "ok" : "ok, " + note, true});
    } catch (const Error& error) {
      report_.checks.push_back({subject, error.what(), false});
    }
  }

  void check_safetensors(const std::string& name,
                         const std::shared_ptr<const SafetensorsFile>& file) {
    report_.tensors += file->header().tensors().size();
    uint64_t bytes = 0;
    for (const TensorEntry& entry : file->header().tensors()) bytes += entry.bytes();
    report_.bytes += bytes;
    check(name + " values", [&] { return require_finite(*file); });
  }

 private:
  static std::string require_finite(const SafetensorsFile& file) {
    std::string lines;
    size_t count = 0;
    for (const TensorEntry& entry : file.header().tensors()) {
      const auto index = first_non_finite(entry.dtype, file.bytes(entry));
      if (index && ++count <= kMaxNamed)
        lines += concat("\n  tensor '", entry.name, "': element ", *index, " is the first");
    }
    if (count > kMaxNamed) lines += concat("\n  and ", count - kMaxNamed, " more tensors");
    if (count > 0)
      fail(ExitCode::refused_input, file.name(), ": holds values that are not finite:", lines);
    return "all finite";
  }

  Verification& report_;
};

std::string summary(const SafetensorsFile& file) {
  const size_t count = file.header().tensors().size();
  return concat(count, count == 1 ? " tensor, " : " tensors, ", human_bytes(file.file_size()));
}

std::string check_json(const InputDirectory& files, const std::string& name) {
  const MappedFile file(files.open(name), files.shown(name));
  if (file.bytes().size() > kMaxJsonFile)
    fail(ExitCode::refused_input, files.shown(name), ": allowed are ", human_bytes(kMaxJsonFile));
  JsonReader reader(as_text(file.bytes()), files.shown(name));
  reader.skip();
  reader.finish();
  return human_bytes(file.bytes().size());
}

std::string check_manifest(const InputDirectory& files) {
  constexpr uint64_t kMaxManifest = 16 << 20;
  const Manifest manifest =
      parse_manifest(files.read(kManifestName, kMaxManifest), files.shown(kManifestName));
  std::string lines;
  for (const std::string& problem : manifest_problems(manifest, files)) lines += "\n  " + problem;
  if (!lines.empty())
    fail(ExitCode::refused_input, files.shown(kManifestName), ": does not fit the folder:", lines);
  return concat(manifest.files.size(), " files have their size and SHA-256");
}

/// A model has config.json and weights, an adapter its own two; anything else is told apart.
void check_completeness(Verifier& verifier, const InputDirectory& files) {
  const bool adapter = !files.has("config.json") && files.has("adapter_config.json");
  const std::string stem = adapter ? "adapter_model" : "model";
  if (adapter) {
    verifier.check("weights",
                   [&] { return concat(open_weights(files, stem).tensors().size(), " in all"); });
    return;
  }
  verifier.check("model", [&] {
    const ModelFolder model = open_model_folder(files.path());
    return JsonFields(model.config, "config.json").string_or("model_type", "no model_type");
  });
  verifier.check("weights",
                 [&] { return concat(open_weights(files).tensors().size(), " in all"); });
}

void verify_folder(Verifier& verifier, const std::string& path) {
  const InputDirectory files(path);
  check_completeness(verifier, files);
  if (files.has(kManifestName))
    verifier.check(kManifestName, [&] { return check_manifest(files); });
  for (const std::string& name : files.names()) {
    if (name.ends_with(".json") && name != kManifestName)
      verifier.check(name, [&] { return check_json(files, name); });
    if (!name.ends_with(".safetensors")) continue;
    std::shared_ptr<const SafetensorsFile> file;
    verifier.check(name, [&] {
      file = std::make_shared<const SafetensorsFile>(files.open(name), files.shown(name));
      return summary(*file);
    });
    if (file) verifier.check_safetensors(name, file);
  }
}

}  // namespace

bool Verification::sound() const {
  return std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.sound; });
}

Verification verify_model(const std::string& path) {
  Verification report;
  Verifier verifier(report);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    fail(ExitCode::missing_input, path, ": there is no such file or folder");
  if (std::filesystem::is_directory(path, ignored)) {
    verify_folder(verifier, path);
    return report;
  }
  std::shared_ptr<const SafetensorsFile> file;
  const std::string name = std::filesystem::path(path).filename().string();
  verifier.check(name, [&] {
    file = std::make_shared<const SafetensorsFile>(path);
    return summary(*file);
  });
  if (file) verifier.check_safetensors(name, file);
  return report;
}

}  // namespace isogrid
