#include "trainer/run_directory/run_lock.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <optional>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "trainer/run_directory/names.h"

namespace isogrid {
namespace {

using Clock = std::chrono::steady_clock;

// A winner needs a moment between taking the lock and writing its name.
constexpr auto kPatience = std::chrono::milliseconds(400);
constexpr uint64_t kMaxLockText = 4096;

struct Owner {
  int64_t pid = 0;
  std::string host, boot, start, run;
};

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

/// Tells this boot of this machine from any other; containers on it share it.
std::string boot_id() {
  try {
    std::string text = read_text_file("/proc/sys/kernel/random/boot_id", 128);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  } catch (const Error&) {
    return "unknown";
  }
}

std::optional<Owner> read_owner(const FileDescriptor& file, const std::string& path) {
  try {
    std::array<char, kMaxLockText> text{};
    const ssize_t count = ::pread(file.get(), text.data(), text.size(), 0);
    if (count <= 0) return std::nullopt;
    const Json json = parse_json({text.data(), static_cast<size_t>(count)}, path);
    const JsonFields fields(json, path);
    return Owner{.pid = fields.positive("pid"),
                 .host = fields.string("host"),
                 .boot = fields.string("boot_id"),
                 .start = fields.string("start"),
                 .run = fields.string_or("run_id", "")};
  } catch (const Error&) {
    return std::nullopt;  // half written, or nothing of ours
  }
}

/// False only where this machine knows better: the process is gone, so its successor holds the
/// lock and has not written its name yet.
bool may_hold_it(const Owner& owner) {
  if (owner.host != host_name() || owner.boot != boot_id()) return true;
  return ::kill(static_cast<pid_t>(owner.pid), 0) == 0 || errno != ESRCH;
}

[[noreturn]] void refuse(const OutputDirectory& directory, const std::optional<Owner>& owner) {
  constexpr const char* kAdvice =
      "; allowed is one run at a time: wait for it, stop it, or choose another output_dir";
  if (!owner) fail(ExitCode::locked, directory.path(), ": is in use by another process", kAdvice);
  fail(ExitCode::locked, directory.path(), ": is in use by process ", owner->pid, " on host '",
       shown_text(owner->host), "' since ", shown_text(owner->start),
       owner->run.empty() ? "" : concat(" (run ", shown_text(owner->run), ")"), kAdvice);
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

RunLock::RunLock(const OutputDirectory& directory) : directory_(directory) {
  const auto deadline = Clock::now() + kPatience;
  while (!try_lock()) {
    const std::optional<Owner> owner = read_owner(file_, directory_.shown(kLockName));
    if ((owner && may_hold_it(*owner)) || Clock::now() > deadline) refuse(directory_, owner);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// Emptied, so that nobody reads the name of a process that is gone.
RunLock::~RunLock() {
  if (file_) directory_.io().truncate(file_.get(), 0);
}

bool RunLock::try_lock() {
  constexpr int kFlags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  IoCalls& io = directory_.io();
  const std::string path = directory_.shown(kLockName);
  for (;;) {
    file_ = FileDescriptor(
        patiently([&] { return io.open(directory_.fd(), kLockName, kFlags, 0666); }));
    if (!file_ && errno == ELOOP)
      fail(ExitCode::locked, path, ": is a link; allowed is a file that a run made");
    if (!file_) fail_write(path, "open", errno, directory_.fd(), 0);
    require_regular_file(file_, path);
    if (patiently([&] { return io.flock(file_.get(), LOCK_EX | LOCK_NB); }) != 0) {
      if (errno == EWOULDBLOCK) return false;
      if (errno != EOPNOTSUPP && errno != ENOSYS) fail_write(path, "flock", errno, file_.get(), 0);
      log_warning(concat(path,
                         ": this file system has no locks, so nothing stops a second run "
                         "in the same folder"));
    }
    // Somebody may have deleted the file between open and flock: then the lock guards nothing.
    struct stat held {
    }, named{};
    if (::fstat(file_.get(), &held) == 0 &&
        ::fstatat(directory_.fd(), kLockName, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
        held.st_ino == named.st_ino && held.st_dev == named.st_dev)
      return true;
  }
}

void RunLock::sign(const std::string& run_id) {
  const Json owner = {{"pid", ::getpid()},
                      {"host", host_name()},
                      {"boot_id", boot_id()},
                      {"start", utc_now()},
                      {"run_id", run_id}};
  const std::string text = dump_json(owner), path = directory_.shown(kLockName);
  IoCalls& io = directory_.io();
  if (patiently([&] { return io.truncate(file_.get(), 0); }) != 0)
    fail_write(path, "truncate", errno, file_.get(), 0);
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t count =
        patiently([&] { return io.write(file_.get(), rest.data(), rest.size()); });
    if (count <= 0)
      fail_write(path, "write", count == 0 ? ENOSPC : errno, file_.get(), text.size());
    rest.remove_prefix(static_cast<size_t>(count));
  }
}

}  // namespace isogrid
