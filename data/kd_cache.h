#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/safetensors.h"
#include "data/encode_dataset.h"
#include "data/kd_format.h"

namespace isogrid {

/// Whether a folder says it is a cache of ours, whole or not.
bool is_kd_cache(const std::string& folder);

/// What a teacher held likely in every document it read, mapped from a folder. Documents are found
/// by their tokens and labels, so that rows find theirs however they are ordered, split or packed.
class KdCache {
 public:
  /// Checks every byte against the manifest, every id against the vocabulary, every number for
  /// being finite. Not finished: 66; damaged or hostile: 65, naming file and tensor.
  static std::shared_ptr<const KdCache> open(const std::string& folder,
                                             const DataHooks& hooks = {});

  const std::string& folder() const { return folder_; }
  const KdMeta& meta() const { return meta_; }
  /// Of everything in it: the hash of its manifest.
  const std::string& fingerprint() const { return fingerprint_; }
  int32_t largest_id() const { return largest_id_; }

  /// Every document as an example of its own; the last meta().held_out are held out.
  const std::shared_ptr<const ExampleFile>& documents() const { return documents_; }
  std::optional<int64_t> find(KdDocument document, int32_t closing_id) const;
  int64_t labels(int64_t document) const;
  /// Lays what belongs to the document's labels behind that of `to`.
  void append(int64_t document, TeacherTokens& to) const;

 private:
  struct Shard {
    std::shared_ptr<const SafetensorsFile> file;
    ByteSpan ids, log_probs, log_tails, negative_ids, negative_log_probs;
    uint64_t first_label = 0;  // in the whole cache
    int64_t labels = 0;
  };
  explicit KdCache(std::string folder) : folder_(std::move(folder)) {}
  void check_manifest(const DataHooks& hooks);
  void open_documents();
  void open_shards(const DataHooks& hooks);
  Shard open_shard(const InputDirectory& files, int64_t shard) const;
  void check_values(const Shard& shard, std::vector<uint64_t>& seen);

  std::string folder_;
  KdMeta meta_;
  std::string fingerprint_;
  std::shared_ptr<const ExampleFile> documents_;
  std::vector<uint64_t> first_label_;  // of each document in the whole cache, and one past the last
  std::vector<Shard> shards_;
  std::unordered_map<KdDocumentKey, int64_t, KdDocumentKeyHash> by_key_;
  int32_t largest_id_ = -1;
};

}  // namespace isogrid
