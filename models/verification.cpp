#include "models/verification.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/finite_scan.h"
#include "core/format.h"
#include "core/gguf.h"
#include "core/json_reader.h"
#include "core/manifest.h"
#include "models/folder.h"
#include "models/weight_index.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

constexpr uint64_t kMaxJsonFile = 256 << 20;  // tokenizer.json is the largest of them
constexpr size_t kMaxNamed = 20;

class BrokenTensors {
 public:
  void add(const std::string& tensor, const std::string& where) {
    if (++count_ <= kMaxNamed)
      lines_ += concat("\n  tensor '", shown_text(tensor), "': ", where, " is the first");
  }
  std::string refuse_if_any(const std::string& file) const {
    if (count_ == 0) return "all finite";
    const std::string more =
        count_ > kMaxNamed ? concat("\n  and ", count_ - kMaxNamed, " more tensors") : "";
    fail(ExitCode::refused_input, file, ": holds values that are not finite:", lines_, more);
  }

 private:
  size_t count_ = 0;
  std::string lines_;
};

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

  void check_gguf(const std::string& name, const std::shared_ptr<const GgufFile>& file) {
    for (const GgufTensor& tensor : file->header().tensors()) {
      report_.tensors += 1;
      report_.bytes += tensor.bytes;
    }
    check(name + " values", [&] { return require_finite(*file); });
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
    BrokenTensors broken;
    for (const TensorEntry& entry : file.header().tensors())
      if (const auto index = first_non_finite(entry.dtype, file.bytes(entry)))
        broken.add(entry.name, concat("element ", *index));
    return broken.refuse_if_any(file.name());
  }

  /// Numbers one by one; of blocks the scales, which make all their values infinite or none.
  static std::string require_finite(const GgufFile& file) {
    BrokenTensors broken;
    for (const GgufTensor& tensor : file.header().tensors()) {
      const GgufType& type = *tensor.type;
      const auto dtype = plain_dtype(type.name);
      if (dtype) {
        if (const auto index = first_non_finite(*dtype, file.bytes(tensor)))
          broken.add(tensor.name, concat("element ", *index));
        continue;
      }
      const int64_t block = grids::first_broken_block(
          type, file.bytes(tensor).data(), static_cast<int64_t>(tensor.bytes / type.bytes));
      if (block >= 0) broken.add(tensor.name, concat("block ", block));
    }
    return broken.refuse_if_any(file.name());
  }

  static std::optional<Dtype> plain_dtype(std::string_view type) {
    for (const Dtype each : {Dtype::f32, Dtype::f16, Dtype::bf16, Dtype::f64})
      if (dtype_name(each) == type) return each;
    return std::nullopt;
  }

  Verification& report_;
};

template <typename File>
std::string summary(const File& file) {
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

/// Each GGUF file is complete in itself.
bool holds_gguf_alone(const InputDirectory& files) {
  const std::vector<std::string> names = files.names();
  return !files.has("config.json") && !files.has("adapter_config.json") &&
         std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.ends_with(".gguf"); });
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

/// Parses one file strictly and looks at its values.
void verify_file(Verifier& verifier, const std::string& name,
                 const std::function<FileDescriptor()>& open, const std::string& shown) {
  if (name.ends_with(".gguf")) {
    std::shared_ptr<const GgufFile> file;
    verifier.check(name, [&] {
      file = std::make_shared<const GgufFile>(open(), shown);
      return summary(*file);
    });
    if (file) verifier.check_gguf(name, file);
    return;
  }
  std::shared_ptr<const SafetensorsFile> file;
  verifier.check(name, [&] {
    file = std::make_shared<const SafetensorsFile>(open(), shown);
    return summary(*file);
  });
  if (file) verifier.check_safetensors(name, file);
}

void verify_folder(Verifier& verifier, const std::string& path) {
  const InputDirectory files(path);
  if (!holds_gguf_alone(files)) check_completeness(verifier, files);
  if (files.has(kManifestName))
    verifier.check(kManifestName, [&] { return check_manifest(files); });
  for (const std::string& name : files.names()) {
    if (name.ends_with(".json") && name != kManifestName)
      verifier.check(name, [&] { return check_json(files, name); });
    if (!name.ends_with(".safetensors") && !name.ends_with(".gguf")) continue;
    verify_file(
        verifier, name, [&] { return files.open(name); }, files.shown(name));
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
  const std::string name = std::filesystem::path(path).filename().string();
  verify_file(
      verifier, name, [&] { return open_regular_file(path); }, path);
  return report;
}

}  // namespace isogrid
