#include "data/dataset_files.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>

#include "core/error.h"
#include "core/hub_cache.h"
#include "core/input_directory.h"
#include "core/io.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepestHubFolder = 3;

std::string extension_of(const std::string& path) {
  std::string extension = fs::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

std::optional<FileType> readable_type(const std::string& extension) {
  if (extension == ".json" || extension == ".jsonl") return FileType::json;
  if (extension == ".csv") return FileType::csv;
  if (extension == ".txt") return FileType::text;
  return std::nullopt;
}

bool is_table(const std::string& extension) {
  return extension == ".parquet" || extension == ".arrow";
}

[[noreturn]] void refuse_type(const std::string& path) {
  const std::string extension = extension_of(path);
  if (is_table(extension)) {
    const std::string stem = fs::path(path).stem().string();
    const char* reader = extension == ".parquet" ? "read_parquet" : "read_feather";
    fail(ExitCode::refused_input, path, ": this program is built without a reader of ",
         extension.substr(1), " files; convert it once: python -c \"import pandas; pandas.", reader,
         "('", path, "').to_json('", stem, ".jsonl', orient='records', lines=True)\"");
  }
  if (extension == ".gz" || extension == ".zst" || extension == ".xz" || extension == ".bz2" ||
      extension == ".zip")
    fail(ExitCode::refused_input, path, ": is compressed; unpack it first");
  fail(ExitCode::refused_input, path, ": the end of its name says nothing this program can read; ",
       "allowed are .json, .jsonl, .csv and .txt");
}

DatasetFiles of_one_type(std::vector<std::string> paths) {
  DatasetFiles files;
  for (size_t i = 0; i < paths.size(); ++i) {
    const std::optional<FileType> type = readable_type(extension_of(paths[i]));
    if (!type) refuse_type(paths[i]);
    if (i > 0 && *type != files.type)
      fail(ExitCode::refused_input, fs::path(paths[i]).parent_path().string(),
           ": a dataset's files are of one type; came '", fs::path(paths[0]).filename().string(),
           "' and '", fs::path(paths[i]).filename().string(), "'");
    files.type = *type;
  }
  files.paths = std::move(paths);
  return files;
}

std::vector<std::string> files_in(const std::string& folder) {
  const InputDirectory directory(folder);
  std::vector<std::string> paths;
  for (const std::string& name : directory.names()) paths.push_back(directory.shown(name));
  if (paths.empty()) fail(ExitCode::missing_input, folder, ": the folder holds no files");
  return paths;
}

/// Files that may be data, below a folder of a snapshot, sorted.
void collect(const fs::path& folder, int depth, std::vector<std::string>& paths) {
  std::error_code ignored;
  const InputDirectory directory(folder.string());
  for (const std::string& name : directory.names()) {
    const fs::path path = folder / name;
    if (fs::is_directory(path, ignored)) {
      if (depth < kDeepestHubFolder) collect(path, depth + 1, paths);
    } else if (const std::string extension = extension_of(name);
               readable_type(extension) || is_table(extension)) {
      paths.push_back(path.string());
    }
  }
}

/// Whether a word stands in a path, between characters that are no letters.
bool has_word(std::string_view path, std::string_view word) {
  const auto is_letter = [&](size_t at) {
    return at < path.size() && std::isalpha(static_cast<unsigned char>(path[at])) != 0;
  };
  for (size_t at = path.find(word); at != std::string_view::npos; at = path.find(word, at + 1))
    if ((at == 0 || !is_letter(at - 1)) && !is_letter(at + word.size())) return true;
  return false;
}

using SplitNames = std::vector<std::string_view>;

/// The names under which the hub knows a split.
SplitNames names_of_split(std::string_view split) {
  static const SplitNames kinds[] = {{"train", "training"},
                                     {"validation", "valid", "val", "dev"},
                                     {"test", "testing", "eval", "evaluation"}};
  for (const SplitNames& names : kinds)
    if (std::find(names.begin(), names.end(), split) != names.end()) return names;
  return {split};
}

bool is_of_split(const std::string& path, const fs::path& base, std::string_view split) {
  const std::string below = fs::path(path).lexically_relative(base).string();
  const SplitNames names = names_of_split(split);
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view word) { return has_word(below, word); });
}

DatasetFiles hub_files(const DatasetEntry& entry) {
  const fs::path snapshot = find_in_hub_cache(HubKind::dataset, entry.hub_id, "main",
                                              concat("dataset '", entry.hub_id, "'"));
  fs::path base = snapshot / entry.folder;
  std::error_code ignored;
  if (!entry.subset.empty() && fs::is_directory(base / entry.subset, ignored)) base /= entry.subset;
  std::vector<std::string> all, chosen;
  collect(base, 0, all);
  bool any_split = false;
  for (const std::string& path : all) {
    for (const std::string_view split : {"train", "validation", "test"})
      any_split |= is_of_split(path, base, split);
    if (is_of_split(path, base, entry.split)) chosen.push_back(path);
  }
  if (chosen.empty() && !any_split && entry.split == "train") chosen = all;
  if (chosen.empty())
    fail(ExitCode::refused_input, entry.place, ": no file below ", base.string(),
         " belongs to the split '", shown_text(entry.split), "'",
         entry.split.find('[') == std::string::npos ? "" : "; for the first rows use max_samples");
  DatasetFiles files = of_one_type(std::move(chosen));
  files.links_stay_inside = true;
  return files;
}

}  // namespace

std::unique_ptr<const MappedFile> map_file(const DatasetFiles& files, size_t index) {
  const fs::path path = files.paths[index];
  if (!files.links_stay_inside) return std::make_unique<const MappedFile>(path.string());
  const InputDirectory folder(path.parent_path().string());
  return std::make_unique<const MappedFile>(folder.open(path.filename().string()), path.string());
}

DatasetFiles find_files(const DatasetEntry& entry) {
  if (!entry.hub_id.empty()) return hub_files(entry);
  std::error_code ignored;
  if (!fs::exists(entry.path, ignored))
    fail(ExitCode::missing_input, entry.place, ": there is no file or folder ", entry.path);
  if (!fs::is_directory(entry.path, ignored)) return of_one_type({entry.path});
  DatasetFiles files = of_one_type(files_in(entry.path));
  files.links_stay_inside = true;
  return files;
}

}  // namespace isogrid
