#pragma once
#include <string>

#include "core/io.h"
#include "core/io_writer.h"

namespace isogrid {

/// "2025-01-31T13:45:07Z"
std::string utc_now();

/// Holds a folder for one process: flock on its file LOCK, which says who holds it. The kernel lets
/// go when the process ends, however it ends; the file stays. Taken by somebody else: exit code 73
/// within a second, naming process, host and start.
/// The folder's handle must outlive it.
class RunLock {
 public:
  explicit RunLock(const OutputDirectory& directory);
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;
  ~RunLock();
  /// Writes who holds it, for whoever comes second. Soon after the lock was taken, please.
  void sign(const std::string& run_id);

 private:
  bool try_lock();

  const OutputDirectory& directory_;
  FileDescriptor file_;
};

}  // namespace isogrid
