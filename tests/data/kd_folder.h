#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/manifest.h"
#include "data/kd_cache.h"
#include "data/kd_writer.h"
#include "tests/core/temporary_directory.h"

namespace isogrid::test {

/// A small cache on disk, with numbers that tell where they belong.
class KdFolder {
 public:
  explicit KdFolder(std::vector<std::vector<uint32_t>> documents) : words(std::move(documents)) {
    meta.teacher = "teacher";
    meta.teacher_sha256 = meta.tokenizer_sha256 = std::string(64, 'a');
    meta.vocabulary = 50;
    meta.top_k = 3;
    meta.temperatures = {1, 2};
    meta.documents_per_shard = 2;
  }

  /// Every token but the first is a label.
  static std::vector<uint32_t> document(const std::vector<int32_t>& ids) {
    std::vector<uint32_t> made;
    for (size_t i = 0; i < ids.size(); ++i) made.push_back(TokenWord::make(ids[i], i > 0));
    return made;
  }

  std::string path() const { return folder / "cache"; }
  std::vector<KdDocument> documents() const { return {words.begin(), words.end()}; }

  KdMeta full_meta() const {
    KdMeta full = meta;
    full.documents = static_cast<int64_t>(words.size());
    full.documents_sha256 = kd_documents_hash(documents(), 0);
    for (const KdDocument document : documents()) {
      full.tokens += static_cast<int64_t>(document.size());
      full.label_tokens += kd_labels(document);
    }
    return full;
  }
  KdCacheWriter writer(const DataHooks& hooks = {}) const {
    return KdCacheWriter(path(), full_meta(), documents(), 0, hooks);
  }

  /// Guess j of the n-th label of a shard: token (7 n + j) mod 50, log-probability -(1 + n / 8 +
  /// j).
  static int32_t id(int64_t shard, int64_t n, int64_t j) {
    return static_cast<int32_t>((13 * shard + 7 * n + j) % 50);
  }
  static float log_prob(int64_t n, int64_t j) {
    return -(1 + static_cast<float>(n) / 8 + static_cast<float>(j));
  }
  void write_shard(KdCacheWriter& writer, KdCacheWriter::Claim& claim) const {
    const int64_t labels = writer.labels_of(claim.shard);
    std::vector<int32_t> ids, negative_ids;
    std::vector<float> log_probs, tails, negative_log_probs;
    for (int64_t n = 0; n < labels; ++n) {
      for (int64_t j = 0; j < meta.top_k; ++j) {
        ids.push_back(id(claim.shard, n, j));
        log_probs.push_back(log_prob(n, j));
      }
      for (const double t : meta.temperatures)
        tails.push_back(static_cast<float>(-t - static_cast<double>(n)));
      for (int64_t j = 0; j < meta.negatives; ++j) {
        negative_ids.push_back(id(claim.shard, n, meta.top_k + j));
        negative_log_probs.push_back(-9);
      }
    }
    const auto bytes = [](const auto& values) { return std::as_bytes(std::span(values)); };
    writer.commit(claim, {{kKdIds, bytes(ids)},
                          {kKdLogProbs, bytes(log_probs)},
                          {kKdLogTails, bytes(tails)},
                          {kKdNegativeIds, bytes(negative_ids)},
                          {kKdNegativeLogProbs, bytes(negative_log_probs)}});
  }
  void write() const {
    KdCacheWriter all = writer();
    while (auto claim = all.claim()) write_shard(all, *claim);
    all.finish();
  }

  /// The bytes of a file changed by `change`, and a manifest that says so is right.
  template <typename Change>
  void tamper(const std::string& name, const Change& change) const {
    std::string bytes = file_content(path() + "/" + name);
    change(bytes);
    folder.write("cache/" + name, bytes);
    seal();
  }
  void seal() const {
    Manifest manifest;
    for (const std::string& name : InputDirectory(path()).names()) {
      if (name == kManifestName) continue;
      const std::string bytes = file_content(path() + "/" + name);
      manifest.files[name] = {bytes.size(), to_hex(sha256(as_bytes(bytes)))};
    }
    folder.write(std::string("cache/") + kManifestName, manifest_text(manifest, Json::object()));
  }
  /// Overwrites element `index` of a tensor of four-byte elements.
  template <typename T>
  void plant(int64_t shard, const char* tensor, size_t index, T value) const {
    tamper(kd_shard_name(shard), [&](std::string& bytes) {
      const SafetensorsHeader header = parse_safetensors(as_bytes(bytes), "shard");
      const TensorEntry* entry = header.find(tensor);
      std::memcpy(bytes.data() + header.data_begin() + entry->begin + 4 * index, &value, 4);
    });
  }

  TemporaryDirectory folder;
  std::vector<std::vector<uint32_t>> words;
  KdMeta meta;
};

}  // namespace isogrid::test
