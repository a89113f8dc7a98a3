#pragma once
#include <array>
#include <cerrno>
#include <cstdint>

#include "core/io_writer.h"

namespace isogrid {

/// Fails the n-th call, once or from then on, with an errno or by a short write.
class FaultyIo : public IoCalls {
 public:
  static constexpr int kShortWrite = -1;

  FaultyIo(int at, int error, bool for_good) : at_(at), error_(error), for_good_(for_good) {}
  int calls() const { return calls_; }
  bool fired() const { return calls_ >= at_; }

  int open(int d, const char* n, int f, mode_t m) override {
    return fails() ? -1 : IoCalls::open(d, n, f, m);
  }
  int fallocate(int fd, uint64_t size) override {
    return fails() ? -1 : IoCalls::fallocate(fd, size);
  }
  ssize_t write(int fd, const void* data, size_t size) override {
    if (error_ == kShortWrite) return IoCalls::write(fd, data, is_due() ? (size + 1) / 2 : size);
    return fails() ? -1 : IoCalls::write(fd, data, size);
  }
  int fsync(int fd) override { return fails() ? -1 : IoCalls::fsync(fd); }
  int close(int fd) override {
    const bool failed = fails();
    const int closed = IoCalls::close(fd);
    return failed ? -1 : closed;  // like the kernel: the descriptor is gone either way
  }
  int rename(int d, const char* from, const char* to) override {
    return fails() ? -1 : IoCalls::rename(d, from, to);
  }
  int mkdir(int d, const char* n, mode_t m) override {
    return fails() ? -1 : IoCalls::mkdir(d, n, m);
  }
  int rename_no_replace(int d, const char* from, const char* to) override {
    return fails() ? -1 : IoCalls::rename_no_replace(d, from, to);
  }
  int unlink(int d, const char* n, int f) override {
    return fails() ? -1 : IoCalls::unlink(d, n, f);
  }
  int truncate(int fd, uint64_t size) override {
    return fails() ? -1 : IoCalls::truncate(fd, size);
  }
  int flock(int fd, int operation) override { return fails() ? -1 : IoCalls::flock(fd, operation); }

 private:
  bool fails() {
    if (error_ == kShortWrite) return false;
    errno = error_;
    return is_due();
  }
  bool is_due() {
    ++calls_;
    return for_good_ ? calls_ >= at_ : calls_ == at_;
  }

  int at_;
  int error_;
  bool for_good_;
  int calls_ = 0;
};

struct Fault {
  const char* name;
  int error;
  bool for_good;

  /// Is it something a writer gets over?
  bool is_harmless() const {
    return error == FaultyIo::kShortWrite || (error == EINTR && !for_good);
  }
};

inline constexpr auto kFaults = std::to_array<Fault>({
    {"NoSpaceOnce", ENOSPC, false},
    {"NoSpaceForGood", ENOSPC, true},
    {"ErrorOnce", EIO, false},
    {"ErrorForGood", EIO, true},
    {"QuotaOnce", EDQUOT, false},
    {"QuotaForGood", EDQUOT, true},
    {"FilesOnce", EMFILE, false},
    {"FilesForGood", EMFILE, true},
    {"InterruptOnce", EINTR, false},
    {"InterruptForGood", EINTR, true},
    {"ShortOnce", FaultyIo::kShortWrite, false},
    {"ShortForGood", FaultyIo::kShortWrite, true},
});

}  // namespace isogrid
