#include "core/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/input_directory.h"
#include "core/io.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path expand_home(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return environment("HOME") + path.substr(1);
  return path;
}

/// In the order of the hub's own library.
fs::path hub_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const std::string value = environment(name); !value.empty()) return expand_home(value);
  if (const std::string value = environment("HF_HOME"); !value.empty())
    return expand_home(value) / "hub";
  const std::string cache = environment("XDG_CACHE_HOME");
  return (cache.empty() ? expand_home("~/.cache") : expand_home(cache)) / "huggingface" / "hub";
}

bool is_id_part(std::string_view part) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  };
  return !part.empty() && part.size() <= 96 && part.front() != '.' && part.front() != '-' &&
         part.find("--") == std::string_view::npos &&
         std::all_of(part.begin(), part.end(), allowed);
}

/// Branches may be named refs/pr/1, so slashes divide plain names here.
bool is_revision(std::string_view revision) {
  for (;;) {
    const size_t slash = revision.find('/');
    if (!is_plain_file_name(revision.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    revision.remove_prefix(slash + 1);
  }
}

/// The folder of the snapshot, empty if the cache has none.
fs::path find_snapshot(const fs::path& model, const std::string& revision) {
  std::error_code ignored;
  const fs::path direct = model / "snapshots" / revision;
  if (is_plain_file_name(revision) && fs::is_directory(direct, ignored)) return direct;
  const fs::path ref = model / "refs" / revision;
  if (!fs::is_regular_file(ref, ignored)) return {};
  std::string commit = read_text_file(ref.string(), 256);
  while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back())) != 0)
    commit.pop_back();
  if (!is_plain_file_name(commit))
    fail(ExitCode::refused_input, ref.string(), ": came no commit but '", shown_text(commit), "'");
  const fs::path snapshot = model / "snapshots" / commit;
  return fs::is_directory(snapshot, ignored) ? snapshot : fs::path();
}

}  // namespace

bool is_hub_id(std::string_view name) {
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos) return is_id_part(name);
  return is_id_part(name.substr(0, slash)) && is_id_part(name.substr(slash + 1));
}

std::string find_in_hub_cache(HubKind kind, const std::string& id, const std::string& revision,
                              const std::string& shown) {
  if (!is_revision(revision))
    fail(ExitCode::refused_input, "revision '", shown_text(revision),
         "': allowed is a branch, tag or commit");
  const bool is_model = kind == HubKind::model;
  std::string folder = (is_model ? "models--" : "datasets--") + id;
  if (const size_t slash = folder.find('/'); slash != std::string::npos)
    folder.replace(slash, 1, "--");
  const fs::path cache = hub_cache();
  const fs::path snapshot = find_snapshot(cache / folder, revision);
  if (!snapshot.empty()) return snapshot.string();
  fail(ExitCode::missing_input, shown,
       revision == "main" ? "" : concat(" at revision '", revision, "'"), ": is neither a ",
       is_model ? "folder" : "file or folder", " here nor in the hub cache ", cache.string(),
       ". Download it once with: hf download ", is_model ? "" : "--repo-type dataset ", id,
       revision == "main" ? "" : concat(" --revision ", revision));
}

}  // namespace isogrid
