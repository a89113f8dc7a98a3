#include "core/gguf_folder.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/gguf_config.h"
#include "core/gguf_tokenizer.h"
#include "core/json.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostParts = 1000;

bool is_part_of_many(const std::string& name) {
  return name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
}

/// The one GGUF file of a folder, the first of its parts.
std::string only_gguf(const InputDirectory& files) {
  std::vector<std::string> found;
  for (const std::string& name : files.names())
    if (name.ends_with(".gguf") && !is_part_of_many(name)) found.push_back(name);
  if (found.size() < 2) return found.empty() ? std::string() : found.front();
  std::string list;
  for (const std::string& name : found) list += (list.empty() ? "" : ", ") + name;
  fail(ExitCode::missing_input, files.path(), ": holds several GGUF files: ", list,
       "; give the path of one of them");
}

/// "x-00001-of-00003.gguf" -> "x-00002-of-00003.gguf"
std::string part_name(const std::string& first, uint64_t part, uint64_t count) {
  char from[32], to[32];
  std::snprintf(from, sizeof from, "-00001-of-%05u.gguf", static_cast<unsigned>(count));
  std::snprintf(to, sizeof to, "-%05u-of-%05u.gguf", static_cast<unsigned>(part),
                static_cast<unsigned>(count));
  if (!first.ends_with(from))
    fail(ExitCode::refused_input, first, ": key 'split.count': came ", count,
         ", but the name does not end in ", from, "; give the first of the parts");
  return first.substr(0, first.size() - std::string(from).size()) + to;
}

std::shared_ptr<const GgufParts> open_parts(const InputDirectory& files, const std::string& name) {
  auto parts = std::make_shared<GgufParts>();
  const auto open = [&](const std::string& each) {
    parts->files.push_back(std::make_shared<const GgufFile>(files.open(each), files.shown(each)));
  };
  open(name);
  const uint64_t count = parts->first().header().natural_or("split.count", 1);
  if (count > kMostParts)
    parts->first().header().refuse("split.count", concat("at most ", kMostParts));
  for (uint64_t part = 2; part <= count; ++part) open(part_name(name, part, count));
  return parts;
}

/// What a GGUF file tells of the small files of a folder.
void add_texts(InputDirectory& files, const std::shared_ptr<const GgufParts>& parts) {
  files.add_text("config.json", [parts] {
    return dump_json(gguf_model_config(parts->first().header(), parts->first().file_bytes()));
  });
  files.add_text("generation_config.json",
                 [parts] { return dump_json(gguf_generation_config(parts->first().header())); });
  if (!has_gguf_tokenizer(parts->first().header())) return;
  files.add_text("tokenizer.json",
                 [parts] { return gguf_tokenizer_json(parts->first().header()); });
  files.add_text("tokenizer_config.json",
                 [parts] { return dump_json(gguf_tokenizer_config(parts->first().header())); });
}

}  // namespace

std::shared_ptr<const InputDirectory> open_model_directory(const std::string& path) {
  const bool is_file = fs::is_regular_file(path) && is_gguf_file(path);
  const fs::path parent = fs::path(path).parent_path();
  const std::string folder = !is_file ? path : parent.empty() ? "." : parent.string();
  auto files = std::make_shared<InputDirectory>(folder);
  std::string name = is_file ? fs::path(path).filename().string() : std::string();
  if (!is_file) {
    if (files->has("config.json") || files->has("tokenizer.json")) return files;
    name = only_gguf(*files);
    if (name.empty()) return files;
  }
  const std::shared_ptr<const GgufParts> parts = open_parts(*files, name);
  files->stand_for(parts, (fs::path(folder) / name).string());
  add_texts(*files, parts);
  return files;
}

}  // namespace isogrid
