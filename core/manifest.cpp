#include "core/manifest.h"

#include "core/error.h"
#include "core/json.h"

namespace isogrid {
namespace {

constexpr int64_t kManifestVersion = 1;

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string file_problem(const std::string& name, const Manifest::File& expected,
                         const InputDirectory& folder) {
  const std::string shown = folder.shown(name);
  if (!folder.has(name)) return concat(shown, ": is in the manifest but not in the folder");
  try {
    const MappedFile file(folder.open(name), shown);
    if (file.bytes().size() != expected.bytes)
      return concat(shown, ": has ", file.bytes().size(), " bytes, the manifest says ",
                    expected.bytes);
    const std::string came = to_hex(sha256(file.bytes()));
    if (came != expected.sha256)
      return concat(shown, ": SHA-256 is ", came, ", the manifest says ", expected.sha256);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace

Manifest parse_manifest(std::string_view text, const std::string& name) {
  const Json json = parse_json(text, name);
  const JsonFields fields(json, name);
  if (const int64_t version = fields.integer("format_version", 1); version > kManifestVersion)
    fail(ExitCode::refused_input, name, ": key 'format_version': came ", version,
         ", this program knows ", kManifestVersion, "; a newer one wrote it");
  const JsonFields files = fields.object("files");
  Manifest manifest;
  for (const auto& [file_name, ignored] : fields.value("files").items()) {
    if (!is_plain_file_name(file_name))
      fail(ExitCode::refused_input, name, ": key 'files': '", shown_text(file_name),
           "' is no plain file name");
    const JsonFields file = files.object(file_name.c_str());
    Manifest::File entry{.bytes = static_cast<uint64_t>(file.integer("bytes", 0)),
                         .sha256 = file.string("sha256")};
    if (!is_sha256(entry.sha256)) file.refuse("sha256", "64 hexadecimal digits");
    manifest.files.emplace(file_name, std::move(entry));
  }
  return manifest;
}

std::vector<std::string> manifest_problems(const Manifest& manifest, const InputDirectory& folder) {
  std::vector<std::string> problems;
  for (const auto& [name, file] : manifest.files)
    if (std::string problem = file_problem(name, file, folder); !problem.empty())
      problems.push_back(std::move(problem));
  for (const std::string& name : folder.names())
    if (name != kManifestName && !manifest.files.contains(name))
      problems.push_back(concat(folder.shown(name), ": is in the folder but not in the manifest"));
  return problems;
}

}  // namespace isogrid
