#include "data/kd_cache.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "core/finite_scan.h"
#include "core/json.h"
#include "core/manifest.h"

namespace isogrid {
namespace {

constexpr uint64_t kKdMostSmallFile = 64 << 20;
constexpr size_t kKdHashedAtOnce = size_t{16} << 20;
/// A log-probability may come out this much above zero by rounding.
constexpr float kKdRounding = 1e-2f;

float float_of_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = half >> 10 & 0x1fu, fraction = half & 0x3ffu;
  if (exponent == 0) {
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

/// Element `index` of a tensor of 16- or 32-bit floats, wherever it lies.
float float_at(ByteSpan bytes, Dtype type, size_t index) {
  if (type == Dtype::f16) {
    uint16_t half = 0;
    std::memcpy(&half, bytes.data() + 2 * index, sizeof half);
    return float_of_half(half);
  }
  float value = 0;
  std::memcpy(&value, bytes.data() + 4 * index, sizeof value);
  return value;
}

int32_t id_at(ByteSpan bytes, size_t index) {
  int32_t id = 0;
  std::memcpy(&id, bytes.data() + 4 * index, sizeof id);
  return id;
}

void append_floats(ByteSpan bytes, Dtype type, size_t first, size_t count, std::vector<float>& to) {
  const size_t old = to.size();
  to.resize(old + count);
  if (type == Dtype::f32) {
    std::memcpy(to.data() + old, bytes.data() + 4 * first, 4 * count);
    return;
  }
  for (size_t i = 0; i < count; ++i) to[old + i] = float_at(bytes, type, first + i);
}

void append_ids(ByteSpan bytes, size_t first, size_t count, std::vector<int32_t>& to) {
  const size_t old = to.size();
  to.resize(old + count);
  std::memcpy(to.data() + old, bytes.data() + 4 * first, 4 * count);
}

std::string sha256_of(const FileDescriptor& descriptor, const std::string& name,
                      const Manifest::File& wanted, const DataHooks& hooks, int64_t& done,
                      int64_t total) {
  const MappedFile file(descriptor, name);
  if (file.bytes().size() != wanted.bytes) return "";
  Sha256 hash;
  for (size_t at = 0; at < file.bytes().size(); at += kKdHashedAtOnce) {
    hooks.check_stop();
    const size_t size = std::min(kKdHashedAtOnce, file.bytes().size() - at);
    hash.update(file.bytes().subspan(at, size));
    done += static_cast<int64_t>(size);
    hooks.show("verifying the teacher's cache", done, total);
  }
  return to_hex(hash.finish());
}

}  // namespace

bool is_kd_cache(const std::string& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) return false;
  const InputDirectory files(folder);
  if (!files.has(kKdMetaName) || !files.has(kKdDocumentsName)) return false;
  return files.read(kKdMetaName, kKdMostSmallFile).find(kKdFormatName) != std::string::npos;
}

std::shared_ptr<const KdCache> KdCache::open(const std::string& folder, const DataHooks& hooks) {
  const std::shared_ptr<KdCache> cache(new KdCache(folder));
  cache->check_manifest(hooks);
  cache->open_documents();
  cache->open_shards(hooks);
  return cache;
}

void KdCache::check_manifest(const DataHooks& hooks) {
  const InputDirectory files(folder_);
  if (!files.has(kManifestName))
    fail(ExitCode::missing_input, "kd_cache: ", folder_, ": ",
         files.has(kKdMetaName)
             ? "is not finished; start trainer kd-cache again, it goes on where it stopped"
             : "is no teacher's cache: it has no MANIFEST.json; trainer kd-cache writes one");
  const std::string text = files.read(kManifestName, kKdMostSmallFile);
  const Manifest manifest = parse_manifest(text, files.shown(kManifestName));
  if (!manifest.files.contains(kKdMetaName))
    fail(ExitCode::refused_input, files.shown(kManifestName), ": does not list ", kKdMetaName);
  int64_t total = 0, done = 0;
  for (const auto& [name, file] : manifest.files) total += static_cast<int64_t>(file.bytes);
  for (const auto& [name, file] : manifest.files) {
    if (!files.has(name))
      fail(ExitCode::missing_input, files.shown(name), ": is missing from the teacher's cache");
    const std::string hash =
        sha256_of(files.open(name), files.shown(name), file, hooks, done, total);
    if (hash != file.sha256)
      fail(ExitCode::refused_input, files.shown(name),
           ": is not the file the manifest was made for; delete it and MANIFEST.json and start "
           "trainer kd-cache again to have it made anew");
  }
  meta_ = parse_kd_meta(files.read(kKdMetaName, kKdMostSmallFile), files.shown(kKdMetaName));
  const auto need = [&](const std::string& name) {
    if (!manifest.files.contains(name))
      fail(ExitCode::refused_input, files.shown(kManifestName), ": does not list ", name);
  };
  need(kKdDocumentsName);
  if (meta_.shards() > static_cast<int64_t>(manifest.files.size()))
    fail(ExitCode::refused_input, files.shown(kManifestName), ": lists ", manifest.files.size(),
         " files; the cache has ", meta_.shards(), " shards");
  for (int64_t shard = 0; shard < meta_.shards(); ++shard) need(kd_shard_name(shard));
  fingerprint_ = to_hex(sha256(as_bytes(text)));
}

void KdCache::open_documents() {
  const InputDirectory files(folder_);
  static_cast<void>(files.open(kKdDocumentsName));  // a plain file of this folder, or refused
  const std::string path = files.shown(kKdDocumentsName);
  std::string why;
  documents_ = ExampleFile::open(path, kd_documents_file_key(), {path}, why);
  if (!documents_) fail(ExitCode::refused_input, path, ": ", why);
  if (documents_->examples() != meta_.documents || documents_->tokens() != meta_.tokens)
    fail(ExitCode::refused_input, path, ": holds ", documents_->examples(), " documents of ",
         documents_->tokens(), " tokens; ", kKdMetaName, " says ", meta_.documents, " of ",
         meta_.tokens);
  first_label_.push_back(0);
  std::vector<KdDocument> all;
  for (int64_t document = 0; document < meta_.documents; ++document) {
    const KdDocument words = documents_->words(document);
    all.push_back(words);
    first_label_.push_back(first_label_.back() + static_cast<uint64_t>(kd_labels(words)));
    by_key_.try_emplace(kd_document_key(words, documents_->closing_id()), document);
  }
  if (static_cast<int64_t>(first_label_.back()) != meta_.label_tokens ||
      kd_documents_hash(all, documents_->closing_id()) != meta_.documents_sha256)
    fail(ExitCode::refused_input, path, ": is not what ", kKdMetaName, " was written for");
}

KdCache::Shard KdCache::open_shard(const InputDirectory& files, int64_t number) const {
  const std::string name = kd_shard_name(number);
  Shard shard;
  shard.file = std::make_shared<const SafetensorsFile>(files.open(name), files.shown(name));
  const auto first = static_cast<size_t>(meta_.first_document(number));
  const auto end = static_cast<size_t>(meta_.end_document(number));
  shard.first_label = first_label_[first];
  shard.labels = static_cast<int64_t>(first_label_[end] - first_label_[first]);
  const SafetensorsLayout plan = plan_kd_shard(meta_, shard.labels);
  const auto& there = shard.file->header().tensors();
  bool fits = there.size() == plan.tensors.size();
  for (const TensorEntry& wanted : plan.tensors) {
    const TensorEntry* entry = shard.file->header().find(wanted.name);
    fits = fits && entry != nullptr && entry->dtype == wanted.dtype && entry->shape == wanted.shape;
  }
  if (!fits)
    fail(ExitCode::refused_input, files.shown(name), ": its tensors are not those of ",
         shard.labels, " labelled tokens with top_k ", meta_.top_k, ", negatives ", meta_.negatives,
         " and ", meta_.temperatures.size(), " temperatures of ", dtype_name(meta_.log_prob_type));
  const auto bytes_of = [&](const char* tensor) {
    const TensorEntry* entry = shard.file->header().find(tensor);
    return entry == nullptr ? ByteSpan() : shard.file->bytes(*entry);
  };
  shard.ids = bytes_of(kKdIds);
  shard.log_probs = bytes_of(kKdLogProbs);
  shard.log_tails = bytes_of(kKdLogTails);
  shard.negative_ids = bytes_of(kKdNegativeIds);
  shard.negative_log_probs = bytes_of(kKdNegativeLogProbs);
  return shard;
}

void KdCache::check_values(const Shard& shard, std::vector<uint64_t>& seen) {
  const std::string& name = shard.file->name();
  const auto refuse = [&](const char* tensor, int64_t label, const auto&... what) {
    fail(ExitCode::refused_input, name, ": ", tensor, ", labelled token ", label, ": ", what...);
  };
  const auto check_id = [&](const char* tensor, int64_t label, int32_t id) {
    if (id < 0 || id >= meta_.vocabulary)
      refuse(tensor, label, "token id ", id, "; the vocabulary holds 0 to ", meta_.vocabulary - 1);
    largest_id_ = std::max(largest_id_, id);
  };
  for (const auto& [tensor, bytes, type] :
       {std::tuple(kKdLogProbs, shard.log_probs, meta_.log_prob_type),
        std::tuple(kKdNegativeLogProbs, shard.negative_log_probs, meta_.log_prob_type),
        std::tuple(kKdLogTails, shard.log_tails, Dtype::f32)})
    if (const auto bad = first_non_finite(type, bytes))
      fail(ExitCode::refused_input, name, ": ", tensor, ": element ", *bad, " is not finite");
  const auto k = static_cast<size_t>(meta_.top_k), r = static_cast<size_t>(meta_.negatives);
  for (int64_t label = 0; label < shard.labels; ++label) {
    const size_t row = static_cast<size_t>(label) * k;
    const uint64_t mark = shard.first_label + static_cast<uint64_t>(label) + 1;
    float before = kKdRounding;
    for (size_t i = 0; i < k; ++i) {
      const int32_t id = id_at(shard.ids, row + i);
      check_id(kKdIds, label, id);
      uint64_t& last = seen[static_cast<size_t>(id)];
      if (last == mark) refuse(kKdIds, label, "token ", id, " stands there twice");
      last = mark;
      const float log_prob = float_at(shard.log_probs, meta_.log_prob_type, row + i);
      if (log_prob > before)
        refuse(kKdLogProbs, label, "came ", log_prob, " behind ", before,
               "; allowed are logarithms of probabilities, the largest first");
      before = log_prob;
    }
    for (size_t i = 0; i < r; ++i)
      check_id(kKdNegativeIds, label,
               id_at(shard.negative_ids, static_cast<size_t>(label) * r + i));
  }
}

void KdCache::open_shards(const DataHooks& hooks) {
  const InputDirectory files(folder_);
  std::vector<uint64_t> seen(static_cast<size_t>(meta_.vocabulary), 0);  // by which labelled token
  for (int64_t number = 0; number < meta_.shards(); ++number) {
    hooks.check_stop();
    shards_.push_back(open_shard(files, number));
    check_values(shards_.back(), seen);
    const auto width = static_cast<int64_t>(meta_.bytes_per_label());
    hooks.show(
        "checking the teacher's cache",
        static_cast<int64_t>(first_label_[static_cast<size_t>(meta_.end_document(number))]) * width,
        meta_.label_tokens * width);
  }
}

std::optional<int64_t> KdCache::find(KdDocument document, int32_t closing_id) const {
  const auto found = by_key_.find(kd_document_key(document, closing_id));
  if (found == by_key_.end()) return std::nullopt;
  return found->second;
}

int64_t KdCache::labels(int64_t document) const {
  const auto i = static_cast<size_t>(document);
  return static_cast<int64_t>(first_label_[i + 1] - first_label_[i]);
}

void KdCache::append(int64_t document, TeacherTokens& to) const {
  to.top_k = meta_.top_k;
  to.negatives = meta_.negatives;
  to.temperatures = meta_.temperatures;
  const int64_t number = document / meta_.documents_per_shard;
  const Shard& shard = shards_[static_cast<size_t>(number)];
  const size_t first = first_label_[static_cast<size_t>(document)] -
                       first_label_[static_cast<size_t>(meta_.first_document(number))];
  const auto count = static_cast<size_t>(labels(document));
  const auto k = static_cast<size_t>(meta_.top_k), r = static_cast<size_t>(meta_.negatives);
  const size_t t = meta_.temperatures.size();
  append_ids(shard.ids, first * k, count * k, to.ids);
  append_floats(shard.log_probs, meta_.log_prob_type, first * k, count * k, to.log_probs);
  append_floats(shard.log_tails, Dtype::f32, first * t, count * t, to.log_tails);
  append_ids(shard.negative_ids, first * r, count * r, to.negative_ids);
  append_floats(shard.negative_log_probs, meta_.log_prob_type, first * r, count * r,
                to.negative_log_probs);
}

}  // namespace isogrid
