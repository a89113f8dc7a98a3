#include "core/manifest.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <unistd.h>

#include "core/error.h"
#include "core/io.h"
#include "core/json.h"

namespace isogrid {
namespace {

constexpr int64_t kManifestVersion = 1;

constexpr std::string_view kOwnHashKey = "manifest_sha256";
constexpr std::string_view kBeforeOwnHash = "  \"manifest_sha256\": \"";
constexpr std::string_view kAfterOwnHash = "\"\n}\n";

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Read, not mapped: a bad sector or a file cut meanwhile is an error then, not a signal.
std::pair<uint64_t, std::string> size_and_hash(const FileDescriptor& file,
                                               const std::string& shown) {
  Sha256 hash;
  uint64_t size = 0;
  for (std::vector<std::byte> piece(1 << 20);;) {
    const ssize_t count = ::read(file.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ExitCode::io, shown, ": cannot be read: ", std::strerror(errno));
    if (count == 0) return {size, to_hex(hash.finish())};
    hash.update(ByteSpan(piece).first(static_cast<size_t>(count)));
    size += static_cast<uint64_t>(count);
  }
}

void require_own_hash(std::string_view text, const std::string& name) {
  const size_t tail = kBeforeOwnHash.size() + 64 + kAfterOwnHash.size();
  if (text.size() < tail ||
      text.substr(text.size() - tail, kBeforeOwnHash.size()) != kBeforeOwnHash ||
      !text.ends_with(kAfterOwnHash))
    fail(ExitCode::refused_input, name, ": does not end with its own hash, key '", kOwnHashKey,
         "'; it was cut or changed");
  const size_t digits = text.size() - kAfterOwnHash.size() - 64;
  const std::string came = to_hex(sha256(as_bytes(text.substr(0, digits))));
  if (came != text.substr(digits, 64))
    fail(ExitCode::refused_input, name, ": its SHA-256 is ", came, ", it says ",
         shown_text(text.substr(digits, 64)), "; it was changed");
}

std::string file_problem(const std::string& name, const Manifest::File& expected,
                         const InputDirectory& folder) {
  const std::string shown = folder.shown(name);
  if (!folder.has(name)) return concat(shown, ": is in the manifest but not in the folder");
  try {
    const auto [size, hash] = size_and_hash(folder.open(name), shown);
    if (size != expected.bytes)
      return concat(shown, ": has ", size, " bytes, the manifest says ", expected.bytes);
    if (hash != expected.sha256)
      return concat(shown, ": SHA-256 is ", hash, ", the manifest says ", expected.sha256);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace

std::string manifest_text(const Manifest& manifest, const Json& facts) {
  Json json = {{"format_version", kManifestVersion}};
  json.update(facts);
  Json& files = json["files"] = Json::object();
  for (const auto& [name, file] : manifest.files)
    files[name] = {{"bytes", file.bytes}, {"sha256", file.sha256}};
  std::string text = dump_json(json);
  text.replace(text.rfind("\n}"), std::string::npos, concat(",\n", kBeforeOwnHash));
  const std::string own = to_hex(sha256(as_bytes(text)));
  return concat(text, own, kAfterOwnHash);
}

Manifest parse_manifest(std::string_view text, const std::string& name, Json* facts) {
  Json json = parse_json(text, name);
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
  require_own_hash(text, name);
  if (facts != nullptr) *facts = std::move(json);
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
