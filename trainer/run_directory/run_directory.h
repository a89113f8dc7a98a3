#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/io_writer.h"
#include "trainer/run_directory/run_lock.h"

namespace isogrid {

/// The folder of one run (output_dir), held by this process for as long as the object lives.
/// Opening makes the folder, takes its lock, removes what an interrupted process left, and counts
/// the attempt in run.json. Exit code 73: in use, or not empty and not a run's; 74: I/O.
class RunDirectory {
 public:
  /// `overwrite`: an earlier run's own entries are deleted and a new run begins; names that no run
  /// writes are left alone.
  explicit RunDirectory(const std::string& path, bool overwrite = false,
                        IoCalls& io = IoCalls::system());

  const std::string& path() const { return directory_.path(); }
  const OutputDirectory& directory() const { return directory_; }
  const std::string& run_id() const { return run_id_; }    // of the first attempt, kept for ever
  const std::string& created() const { return created_; }  // "2026-01-31T12:00:00Z", of the first
  int64_t attempt() const { return attempt_; }             // 1 for the first
  /// The result is published: the next start with overwrite_output_dir is a new run.
  void mark_finished();

 private:
  void remove_leftovers() const;
  void remove_earlier_run() const;
  void write_run_file() const;

  OutputDirectory directory_;
  RunLock lock_;
  std::string run_id_;
  std::string created_;
  int64_t attempt_ = 1;
  bool finished_ = false;
};

/// Does this folder hold a run? Only looks.
bool is_run_directory(const std::string& path);

/// Checkpoints of the run in this folder, newest first; none where it came to its end, or where
/// there is no run. Only looks.
std::vector<std::string> checkpoints_of_unfinished_run(const std::string& path);

}  // namespace isogrid
