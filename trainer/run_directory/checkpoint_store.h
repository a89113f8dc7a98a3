#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/io_writer.h"
#include "trainer/run_directory/checkpoint_check.h"
#include "trainer/run_directory/retention.h"

namespace isogrid {

/// One file of a checkpoint. Its producer owns a snapshot, so that training may go on meanwhile.
using CheckpointFile = FileToWrite;

/// The checkpoint-<step> folders of one run. The listing is the truth: there is no pointer to a
/// newest one that could go stale. Whoever uses it holds the folder's lock.
class CheckpointStore {
 public:
  /// `run` must outlive it. A checkpoint of another run_id is not this store's: it is never
  /// resumed from by itself, never counted, never deleted.
  CheckpointStore(const OutputDirectory& run, std::string run_id);

  /// When this returns, the step is on the disk whole; until then nothing of it is visible. Files
  /// go to a temporary folder, are synced, and appear by one rename. Any failure is exit code 74
  /// with the earlier checkpoints untouched. A step that this object has committed, or
  /// goes on from, is left as it is; anything else under the step's name is set aside as
  /// "<name>.damaged-<k>" or "<name>.replaced-<k>".
  void commit(const CheckpointFacts& facts, const std::vector<CheckpointFile>& files);

  /// Deletes what `retention` no longer wants: rename, sync, unlink. Returns the steps deleted.
  std::vector<int64_t> retain(const Retention& retention);

  /// Steps of all folders named checkpoint-<step>, highest number first.
  std::vector<int64_t> steps() const;
  std::string path_of(int64_t step) const;

  /// The newest sound checkpoint; none if there is no checkpoint at all. A damaged one is named in
  /// a warning and the next older one is taken. Going back by more than one, or to nothing, is for
  /// the user to decide: exit code 65.
  std::optional<CheckpointCheck> newest();

  /// Said before training goes on from `step`: later checkpoints belong to a run that will not have
  /// been. They are set aside under the names that commit() gives, and returned.
  std::vector<int64_t> go_on_from(int64_t step);

 private:
  bool is_sound(int64_t step);
  bool is_of_this_run(int64_t step) const;
  void require_space(const std::string& name, uint64_t bytes) const;
  void write_folder(const std::string& temporary, const CheckpointFacts& facts,
                    const std::vector<CheckpointFile>& files) const;
  void set_aside(int64_t step, const char* reason) const;

  const OutputDirectory& run_;
  std::string run_id_;
  std::set<int64_t> committed_;  // by this object, and where it goes on from
  std::set<int64_t> verified_;   // read back and found whole by this object
};

}  // namespace isogrid
