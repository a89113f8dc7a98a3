#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/io_writer.h"
#include "data/encode_dataset.h"
#include "data/kd_format.h"

namespace isogrid {

/// Held by one process at a time, through flock on a file of this name; the kernel lets go when the
/// process ends, however it ends.
class FileClaim {
 public:
  /// Empty where somebody else holds it.
  static std::optional<FileClaim> attempt(const std::string& path);
  /// Waits for it.
  static FileClaim wait(const std::string& path, const DataHooks& hooks);
  FileClaim(FileClaim&&) = default;
  FileClaim& operator=(FileClaim&&) = default;
  /// Removes the file as well, which is for its holder alone to do.
  void release();

 private:
  FileClaim(std::string path, FileDescriptor file)
      : path_(std::move(path)), file_(std::move(file)) {}
  std::string path_;
  FileDescriptor file_;
};

/// Writes a cache shard by shard. Killed at any moment it leaves whole shards, and whoever starts
/// next goes on; several processes may work in one folder, each shard is one process's.
class KdCacheWriter {
 public:
  /// The folder is new, or holds an unfinished cache of the same; of another: 73.
  KdCacheWriter(std::string folder, KdMeta meta, const std::vector<KdDocument>& documents,
                int32_t closing_id, DataHooks hooks);

  bool is_complete() const;
  /// Labelled tokens of shards that are there.
  int64_t labels_done() const;
  int64_t labels_of(int64_t shard) const;

  struct Claim {
    int64_t shard = 0;
    FileClaim lock;
  };
  /// The next shard that nobody has written or is writing. Where others write the last ones it
  /// waits for them, or for what they leave behind; empty: every shard is there.
  std::optional<Claim> claim();
  /// `tensors`: the bytes of each by name.
  void commit(Claim& claim, const std::map<std::string, ByteSpan, std::less<>>& tensors);
  /// Hashes everything and writes the manifest; of several processes the first does it.
  void finish();

 private:
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  bool has(const std::string& name) const;
  void begin(const std::vector<KdDocument>& documents, int32_t closing_id);
  void remove_leftovers(const std::string& of) const;

  std::string folder_;
  KdMeta meta_;
  DataHooks hooks_;
  std::vector<uint64_t> first_label_;  // of each document, and one past the last
};

}  // namespace isogrid
