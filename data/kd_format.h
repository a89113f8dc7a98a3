#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/json_fwd.h"
#include "core/safetensors_writer.h"
#include "data/example_file.h"

namespace isogrid {

// The folder of what a teacher holds likely:
//   meta.json                      what it was made with; written first
//   documents.rows                 tokens and labels of every document (data/example_file.h)
//   shard-00000.safetensors, ...   for each labelled token of a run of documents, in order, the
//                                  tensors below
//   MANIFEST.json                  sizes and hashes; written last, so without it the cache is not
//                                  whole
inline constexpr const char* kKdFormatName = "isogrid_kd_cache";
inline constexpr const char* kKdMetaName = "meta.json";
inline constexpr const char* kKdDocumentsName = "documents.rows";
std::string kd_shard_name(int64_t shard);

inline constexpr const char* kKdIds = "top_ids";               // I32 [labels, top_k]
inline constexpr const char* kKdLogProbs = "top_log_probs";    // F16 or F32, the same
inline constexpr const char* kKdLogTails = "log_tails";        // F32 [labels, temperatures]
inline constexpr const char* kKdNegativeIds = "negative_ids";  // I32 [labels, negatives]
inline constexpr const char* kKdNegativeLogProbs = "negative_log_probs";

/// The log of a tail that holds nothing: everything in a cache is finite.
inline constexpr float kKdNoTail = -10000.0f;
inline constexpr int64_t kKdMostTemperatures = 16;
inline constexpr int64_t kKdMostVocabulary = 1 << 22;
inline constexpr int64_t kKdMostCandidates = 1 << 16;  // of either kind

/// What a cache says of itself. Two caches with equal ones hold the same.
struct KdMeta {
  std::string teacher;  // its name, for people
  std::string teacher_sha256;
  std::string tokenizer_sha256;
  std::string documents_sha256;                  // kd_documents_hash
  std::map<std::string, std::string> made_with;  // settings of the data, for people
  int64_t vocabulary = 0;                        // ids lie below it
  int64_t top_k = 0;
  int64_t negatives = 0;
  uint64_t seed = 0;  // of the negatives
  /// Those whose tail is known, ascending; none: only the guesses themselves are comparable.
  std::vector<double> temperatures;
  Dtype log_prob_type = Dtype::f32;
  int64_t documents = 0;
  int64_t held_out = 0;  // of them, the last ones
  int64_t tokens = 0;
  int64_t label_tokens = 0;
  int64_t documents_per_shard = 0;

  int64_t shards() const { return (documents + documents_per_shard - 1) / documents_per_shard; }
  int64_t first_document(int64_t shard) const { return shard * documents_per_shard; }
  int64_t end_document(int64_t shard) const;
  /// What a labelled token takes in a shard.
  uint64_t bytes_per_label() const;
};

Json kd_meta_json(const KdMeta& meta);
/// Refuses (65) what no cache of ours says.
KdMeta parse_kd_meta(std::string_view text, const std::string& name);
/// The keys in which two differ, with both values: "kd_top_k 8, now 16".
std::vector<std::string> kd_meta_differences(const KdMeta& there, const KdMeta& now);

/// Header and offsets of a shard with so many labelled tokens.
SafetensorsLayout plan_kd_shard(const KdMeta& meta, int64_t labels);

/// A document as the cache knows it: a run of TokenWords. Nobody predicts its first token, so
/// whether that has a label makes no difference.
using KdDocument = std::span<const uint32_t>;
std::vector<uint32_t> kd_words(KdDocument document);
int64_t kd_labels(KdDocument document);

/// Tells documents apart by tokens and labels, wherever they come from.
struct KdDocumentKey {
  std::array<uint64_t, 2> words{};
  bool operator==(const KdDocumentKey&) const = default;
};
struct KdDocumentKeyHash {
  size_t operator()(const KdDocumentKey& key) const { return key.words[0]; }
};
KdDocumentKey kd_document_key(KdDocument document, int32_t closing_id);

std::string kd_documents_hash(const std::vector<KdDocument>& documents, int32_t closing_id);

/// What documents.rows is opened with: its content is told by its own hash.
const Sha256Digest& kd_documents_file_key();

}  // namespace isogrid
