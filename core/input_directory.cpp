#include "core/input_directory.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/error.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr int kReadFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
constexpr size_t kMaxFileName = 255;
constexpr int kMaxLinks = 4;  // a snapshot, a blob, a shared blob, and one inside the folder
constexpr int kMaxSnapshotDepth = 3;  // folders between a snapshot and a file of it

int open_beneath(int directory, const char* name) {
  open_how how{};
  how.flags = kReadFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, directory, name, &how, sizeof how));
}

/// Opens `path`, which hangs below the link-free `root`, without following a link on the way.
FileDescriptor open_below(const fs::path& root, const fs::path& path) {
  FileDescriptor at(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const fs::path relative = path.lexically_relative(root);
  for (auto part = relative.begin(); at && part != relative.end(); ++part) {
    const bool last = std::next(part) == relative.end();
    const int flags = last ? kReadFlags : O_PATH | O_DIRECTORY | O_CLOEXEC;
    at = FileDescriptor(::openat(at.get(), part->c_str(), flags | O_NOFOLLOW));
  }
  return at;
}

/// An open file with this text that lies nowhere.
FileDescriptor memory_file(const std::string& name, const std::string& text) {
  FileDescriptor file(::memfd_create(name.c_str(), MFD_CLOEXEC));
  for (size_t at = 0; file && at < text.size();) {
    const ssize_t written = ::write(file.get(), text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) file = {};
    at += static_cast<size_t>(written);
  }
  if (!file || ::lseek(file.get(), 0, SEEK_SET) != 0)
    fail(ExitCode::memory, name, ": cannot be kept in memory: ", std::strerror(errno));
  return file;
}

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

bool is_plain_file_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxFileName) return false;
  if (name.front() == '.' || name.front() == '~') return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '/' || c == '\\' || c == ':' ||
           c == '%';
  });
}

InputDirectory::InputDirectory(const std::string& path) : path_(path) {
  if (path.find('\0') != std::string::npos)
    fail(ExitCode::refused_input, "a folder's name holds a NUL character");
  std::error_code problem;
  root_ = fs::canonical(path, problem);
  if (problem) fail(ExitCode::missing_input, path, ": cannot be opened: ", problem.message());
  fd_ = FileDescriptor(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd_ && errno == ENOTDIR)
    fail(ExitCode::refused_input, path, ": is a file; a folder is needed");
  if (!fd_) fail(ExitCode::missing_input, path, ": cannot be opened: ", std::strerror(errno));
  // Files of a dataset's snapshot may lie in folders of it.
  fs::path snapshots = root_.parent_path();
  for (int up = 0; up < kMaxSnapshotDepth && snapshots.filename() != "snapshots"; ++up)
    snapshots = snapshots.parent_path();
  if (snapshots.filename() != "snapshots") return;
  const fs::path repository = snapshots.parent_path();
  blobs_ = repository / "blobs";
  const std::string name = repository.filename().string();
  if (name.starts_with("models--") || name.starts_with("datasets--"))
    store_ = repository.parent_path() / "blobs";
}

std::string InputDirectory::shown(std::string_view name) const {
  return (fs::path(path_) / name).string();
}

void InputDirectory::stand_for(std::shared_ptr<const GgufParts> model, const std::string& path) {
  gguf_ = std::move(model);
  path_ = path;
}

bool InputDirectory::has(const std::string& name) const {
  if (gguf_) return texts_.contains(name);
  struct stat status {};
  return is_plain_file_name(name) &&
         ::fstatat(fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

std::vector<std::string> InputDirectory::names() const {
  std::vector<std::string> found;
  for (const auto& [name, text] : texts_) found.push_back(name);
  if (gguf_) return found;
  std::error_code problem;
  for (fs::directory_iterator entry(root_, problem), end; !problem && entry != end;
       entry.increment(problem))
    if (std::string name = entry->path().filename().string(); is_plain_file_name(name))
      found.push_back(std::move(name));
  if (problem) fail(ExitCode::missing_input, path_, ": cannot be listed: ", problem.message());
  std::sort(found.begin(), found.end());
  return found;
}

bool InputDirectory::allowed_target(const fs::path& target) const {
  const fs::path parent = target.parent_path();
  const std::string name = target.filename().string();
  if (!is_plain_file_name(name)) return false;
  if (parent == root_ || (!blobs_.empty() && parent == blobs_)) return true;
  // Newer caches keep one copy for all models: <cache>/blobs/<2 hex>/<64 hex>.
  return !store_.empty() && parent.parent_path() == store_ && name.size() == 64 && is_hex(name) &&
         parent.filename() == name.substr(0, 2);
}

FileDescriptor InputDirectory::follow_links(const std::string& name) const {
  fs::path current = root_ / name;
  for (int hop = 0; hop <= kMaxLinks; ++hop) {
    // All that allowed_target lets through lies below the root, the model or the cache.
    const fs::path base = current.parent_path() == root_    ? root_
                          : current.parent_path() == blobs_ ? blobs_.parent_path()
                                                            : store_.parent_path();
    FileDescriptor file = open_below(base, current);
    if (file || errno != ELOOP) return file;
    std::array<char, PATH_MAX> link{};
    const ssize_t length = ::readlink(current.c_str(), link.data(), link.size());
    if (length <= 0) return {};
    const std::string_view target(link.data(), static_cast<size_t>(length));
    const fs::path next = (current.parent_path() / target).lexically_normal();
    if (!allowed_target(next))
      fail(ExitCode::refused_input, shown(name), ": is a link to '", shown_text(target),
           "', outside the model; allowed are links inside its folder and into the blobs of its "
           "hub cache");
    current = next;
  }
  errno = ELOOP;
  return {};
}

FileDescriptor InputDirectory::open(const std::string& name) const {
  if (!is_plain_file_name(name))
    fail(ExitCode::refused_input, path_, ": '", shown_text(name),
         "' is no plain file name; allowed is a name in the same folder, without path");
  if (const auto text = texts_.find(name); text != texts_.end())
    return memory_file(shown(name), text->second());
  if (gguf_) fail(ExitCode::missing_input, shown(name), ": is not told by a GGUF file");
  FileDescriptor file(open_beneath(fd_.get(), name.c_str()));
  // Outside, a loop, or a kernel (or sandbox) without openat2: walk the links by hand.
  if (!file && errno != ENOENT && errno != EACCES) file = follow_links(name);
  if (!file) {
    const bool odd = errno == ELOOP || errno == ENXIO;  // a loop of links, a socket
    fail(odd ? ExitCode::refused_input : ExitCode::missing_input, shown(name),
         ": cannot be opened: ", std::strerror(errno));
  }
  require_regular_file(file, shown(name));
  return file;
}

std::string InputDirectory::read(const std::string& name, uint64_t max_bytes) const {
  if (const auto text = texts_.find(name); text != texts_.end()) return text->second();
  return read_text_file(open(name), shown(name), max_bytes);
}

}  // namespace isogrid
