#include "data/kd_format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"

namespace isogrid {
namespace {

constexpr int64_t kKdFormatVersion = 1;

std::string hex_digest(const JsonFields& fields, const char* key) {
  const std::string text = fields.string(key);
  const bool is_hex = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  if (text.size() != 64 || !is_hex) fields.refuse(key, "64 hexadecimal digits");
  return text;
}

std::vector<double> temperatures_of(const JsonFields& fields) {
  const Json& list = fields.value("temperatures");
  const auto allowed = concat("at most ", kKdMostTemperatures, " ascending numbers above 0");
  if (!list.is_array() || list.size() > kKdMostTemperatures) fields.refuse("temperatures", allowed);
  std::vector<double> temperatures;
  for (const Json& item : list) {
    const double value = item.is_number() ? item.get<double>() : 0;
    if (!(value > (temperatures.empty() ? 0 : temperatures.back())) || !std::isfinite(value))
      fields.refuse("temperatures", allowed);
    temperatures.push_back(value);
  }
  return temperatures;
}

void read_counts(const JsonFields& fields, KdMeta& meta) {
  constexpr int64_t kMost = int64_t{1} << 48;  // every product below stays within 63 bits
  meta.vocabulary = fields.integer("vocabulary", 2, kKdMostVocabulary);
  meta.top_k = fields.integer("top_k", 1, std::min(meta.vocabulary, kKdMostCandidates));
  meta.negatives = fields.integer("negatives", 0, kKdMostCandidates);
  meta.documents = fields.integer("documents", 1, kMost);
  meta.held_out = fields.integer("held_out", 0, meta.documents);
  meta.tokens = fields.integer("tokens", 1, kMost);
  meta.label_tokens = fields.integer("label_tokens", 1, kMost);
  meta.documents_per_shard = fields.integer("documents_per_shard", 1, kMost);
}

}  // namespace

std::string kd_shard_name(int64_t shard) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "shard-%05lld.safetensors",
                static_cast<long long>(shard));
  return text.data();
}

int64_t KdMeta::end_document(int64_t shard) const {
  return std::min(documents, first_document(shard) + documents_per_shard);
}

uint64_t KdMeta::bytes_per_label() const {
  const auto candidates = static_cast<uint64_t>(top_k + negatives);
  return candidates * (4 + dtype_bits(log_prob_type) / 8) + 4 * temperatures.size();
}

Json kd_meta_json(const KdMeta& meta) {
  return {{"format", kKdFormatName},
          {"format_version", kKdFormatVersion},
          {"teacher", meta.teacher},
          {"teacher_sha256", meta.teacher_sha256},
          {"tokenizer_sha256", meta.tokenizer_sha256},
          {"documents_sha256", meta.documents_sha256},
          {"made_with", meta.made_with},
          {"vocabulary", meta.vocabulary},
          {"top_k", meta.top_k},
          {"negatives", meta.negatives},
          {"seed", meta.seed},
          {"temperatures", meta.temperatures},
          {"log_prob_type", dtype_name(meta.log_prob_type)},
          {"documents", meta.documents},
          {"held_out", meta.held_out},
          {"tokens", meta.tokens},
          {"label_tokens", meta.label_tokens},
          {"documents_per_shard", meta.documents_per_shard}};
}

KdMeta parse_kd_meta(std::string_view text, const std::string& name) {
  const Json json = parse_json(text, name);
  if (!json.is_object()) fail(ExitCode::refused_input, name, ": allowed is one JSON object");
  const JsonFields fields(json, name);
  if (fields.string("format") != kKdFormatName) fields.refuse("format", kKdFormatName);
  fields.integer("format_version", 1, kKdFormatVersion);
  KdMeta meta;
  meta.teacher = fields.string("teacher");
  meta.teacher_sha256 = hex_digest(fields, "teacher_sha256");
  meta.tokenizer_sha256 = hex_digest(fields, "tokenizer_sha256");
  meta.documents_sha256 = hex_digest(fields, "documents_sha256");
  const Json& made_with = fields.value("made_with");
  if (!made_with.is_object()) fields.refuse("made_with", "an object of texts");
  for (const auto& [key, value] : made_with.items()) {
    if (!value.is_string()) fields.refuse("made_with", "an object of texts");
    meta.made_with[key] = value.get<std::string>();
  }
  read_counts(fields, meta);
  meta.seed = static_cast<uint64_t>(fields.integer("seed", 0));
  meta.temperatures = temperatures_of(fields);
  const auto type = find_dtype(fields.string("log_prob_type"));
  if (type != Dtype::f16 && type != Dtype::f32) fields.refuse("log_prob_type", "F16 or F32");
  meta.log_prob_type = *type;
  return meta;
}

std::vector<std::string> kd_meta_differences(const KdMeta& there, const KdMeta& now) {
  std::vector<std::string> found;
  const Json old = kd_meta_json(there), fresh = kd_meta_json(now);
  const auto compare = [&](const Json& a, const Json& b) {
    for (const auto& [key, value] : b.items())
      if (!a.contains(key) || a[key] != value)
        found.push_back(concat(key, " ", a.contains(key) ? shown_text(a[key].dump()) : "unset",
                               ", now ", shown_text(value.dump())));
    for (const auto& [key, value] : a.items())
      if (!b.contains(key))
        found.push_back(concat(key, " ", shown_text(value.dump()), ", now unset"));
  };
  compare(old["made_with"], fresh["made_with"]);
  Json old_rest = old, fresh_rest = fresh;
  for (Json* rest : {&old_rest, &fresh_rest}) rest->erase("made_with");
  compare(old_rest, fresh_rest);
  return found;
}

SafetensorsLayout plan_kd_shard(const KdMeta& meta, int64_t labels) {
  std::vector<TensorEntry> tensors;
  const auto add = [&](const char* name, Dtype type, int64_t columns) {
    if (columns == 0) return;
    TensorEntry entry;
    entry.name = name;
    entry.dtype = type;
    entry.shape = {labels, columns};
    tensors.push_back(std::move(entry));
  };
  add(kKdIds, Dtype::i32, meta.top_k);
  add(kKdLogProbs, meta.log_prob_type, meta.top_k);
  add(kKdLogTails, Dtype::f32, static_cast<int64_t>(meta.temperatures.size()));
  add(kKdNegativeIds, Dtype::i32, meta.negatives);
  add(kKdNegativeLogProbs, meta.log_prob_type, meta.negatives);
  return plan_safetensors(std::move(tensors), {{"format", kKdFormatName}});
}

std::vector<uint32_t> kd_words(KdDocument document) {
  std::vector<uint32_t> words(document.begin(), document.end());
  if (!words.empty()) words.front() = static_cast<uint32_t>(TokenWord::id(words.front()));
  return words;
}

int64_t kd_labels(KdDocument document) {
  if (document.empty()) return 0;
  return std::count_if(document.begin() + 1, document.end(), TokenWord::has_label);
}

KdDocumentKey kd_document_key(KdDocument document, int32_t closing_id) {
  const std::vector<uint32_t> words = kd_words(document);
  const bool closes = std::any_of(words.begin(), words.end(),
                                  [](uint32_t word) { return (word & TokenWord::kCloses) != 0; });
  const int32_t closing = closes ? closing_id : -1;
  Sha256 hash;
  hash.update(std::as_bytes(std::span(words)));
  hash.update(std::as_bytes(std::span(&closing, 1)));
  const Sha256Digest digest = hash.finish();
  KdDocumentKey key;
  std::memcpy(key.words.data(), digest.data(), sizeof key.words);
  return key;
}

std::string kd_documents_hash(const std::vector<KdDocument>& documents, int32_t closing_id) {
  Sha256 hash;
  for (const KdDocument document : documents) {
    const KdDocumentKey key = kd_document_key(document, closing_id);
    hash.update(std::as_bytes(std::span(key.words)));
  }
  return to_hex(hash.finish());
}

const Sha256Digest& kd_documents_file_key() {
  static const Sha256Digest key = sha256(as_bytes(kKdFormatName));
  return key;
}

}  // namespace isogrid
