#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/format.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "data/kd_writer.h"
#include "models/registry.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/data_progress.h"
#include "trainer/commands/kd_answers.h"
#include "trainer/commands/kd_documents.h"
#include "trainer/commands/other_model.h"
#include "trainer/data_coding.h"
#include "trainer/open_model.h"
#include "trainer/provenance.h"
#include "trainer/teacher_guesses.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

using Clock = std::chrono::steady_clock;

/// The settings the teacher is opened with.
RunConfig teacher_config(const RunConfig& config) {
  return config.kd.kd_teacher ? with_model(config, *config.kd.kd_teacher) : config;
}

/// Of everything the teacher's numbers depend on.
std::string teacher_hash(const RunConfig& config, const OpenedModel& opened) {
  Sha256 hash;
  hash.update(as_bytes(model_fingerprint(*opened.folder.files)));
  hash.update(as_bytes(opened.folder.config.dump()));
  for (const PeftFolder& adapter : open_adapters(config))
    hash.update(MappedFile(adapter.files->open("adapter_model.safetensors"), adapter.path).bytes());
  hash.update(as_bytes(c10::toString(opened.model.compute)));
  return to_hex(hash.finish());
}

std::vector<double> stored_temperatures(const KdConfig& kd) {
  std::vector<double> temperatures = kd.kd_temperatures;
  temperatures.push_back(1);
  temperatures.push_back(kd.kd_temperature);
  std::sort(temperatures.begin(), temperatures.end());
  temperatures.erase(std::unique(temperatures.begin(), temperatures.end()), temperatures.end());
  if (static_cast<int64_t>(temperatures.size()) > kKdMostTemperatures)
    fail(ExitCode::configuration, "kd_temperatures: ", temperatures.size(),
         " with 1 and kd_temperature; allowed are ", kKdMostTemperatures);
  return temperatures;
}

KdMeta meta_of(const RunConfig& config, const KdDocuments& documents) {
  const RunConfig teacher = teacher_config(config);
  const KdConfig& kd = config.kd;
  KdMeta meta;
  meta.teacher = required_model(teacher);
  meta.tokenizer_sha256 = documents.tokenizer_sha256;
  meta.documents_sha256 = kd_documents_hash(documents.all, documents.closing_id);
  meta.made_with = documents.made_with;
  meta.vocabulary = std::min(vocabulary_of(teacher), vocabulary_of(config));
  meta.top_k = kd.kd_top_k;
  meta.negatives = kd.kd_negatives;
  meta.seed = static_cast<uint64_t>(config.run.seed);
  meta.temperatures = stored_temperatures(kd);
  meta.log_prob_type = kd.kd_dtype == "float16" ? Dtype::f16 : Dtype::f32;
  meta.documents = static_cast<int64_t>(documents.all.size());
  meta.held_out = documents.held_out;
  meta.documents_per_shard = kd.kd_shard_size;
  for (const KdDocument document : documents.all) {
    meta.tokens += static_cast<int64_t>(document.size());
    meta.label_tokens += kd_labels(document);
  }
  if (meta.top_k + meta.negatives > meta.vocabulary)
    fail(ExitCode::configuration, "kd_top_k = ", meta.top_k, " and kd_negatives = ", meta.negatives,
         ": together they are more than the vocabulary's ", meta.vocabulary, " tokens");
  return meta;
}

uint64_t cache_bytes(const KdMeta& meta) {
  return static_cast<uint64_t>(meta.label_tokens) * meta.bytes_per_label() +
         static_cast<uint64_t>(meta.tokens) * 4 + static_cast<uint64_t>(meta.documents) * 16;
}

/// What is coming, before the teacher is even loaded.
void announce(const std::string& folder, const KdMeta& meta) {
  const auto count = [](int64_t number) { return with_commas(static_cast<uint64_t>(number)); };
  log_info(concat("the teacher ", meta.teacher, " reads ", count(meta.documents), " documents (",
                  count(meta.held_out), " held out), ", count(meta.tokens), " tokens, and keeps ",
                  meta.top_k + meta.negatives, " guesses for each of ", count(meta.label_tokens),
                  " labelled ones: ", human_bytes(cache_bytes(meta)), " in ", count(meta.shards()),
                  " shards in ", folder));
  namespace fs = std::filesystem;
  fs::path place = fs::absolute(folder);
  while (!fs::exists(place) && place.has_parent_path()) place = place.parent_path();
  std::error_code error;
  const auto space = fs::space(place, error);
  if (!error && cache_bytes(meta) > space.available && !fs::exists(folder))
    fail(ExitCode::io, "kd_cache: ", folder, ": takes ", human_bytes(cache_bytes(meta)), ", and ",
         human_bytes(space.available),
         " are free; what helps: a smaller kd_top_k, kd_negatives or kd_num_sequences, kd_dtype: "
         "float16");
}

void check_finite(const TeacherGuesses& guesses, int64_t first_document) {
  if (!are_finite(guesses))
    fail(ExitCode::numeric, "the teacher's logits are not finite in one of the documents from ",
         first_document, " on; a wider infer_dtype may help");
}

ByteSpan tensor_bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

class CacheJob {
 public:
  CacheJob(const RunConfig& config, const KdMeta& meta, const KdDocuments& documents,
           const CausalLm& model, KdCacheWriter& writer, const DataHooks& hooks)
      : batch_(config.kd.kd_batch_size),
        meta_(meta),
        documents_(documents),
        teacher_(model, meta),
        writer_(writer),
        hooks_(hooks),
        line_("Reading, tokens", meta.label_tokens) {}

  int64_t run() {
    while (auto claim = writer_.claim()) {
      const TeacherGuesses guesses = read_shard(claim->shard);
      const auto type = meta_.log_prob_type == Dtype::f16 ? at::kHalf : at::kFloat;
      std::vector<at::Tensor> held;
      std::map<std::string, ByteSpan, std::less<>> tensors;
      const auto add = [&](const char* name, const at::Tensor& tensor, at::ScalarType as) {
        if (!tensor.defined()) return;
        held.push_back(tensor.to(as).contiguous());
        tensors[name] = tensor_bytes_of(held.back());
      };
      add(kKdIds, guesses.ids, at::kInt);
      add(kKdLogProbs, guesses.log_probs, type);
      add(kKdLogTails, guesses.log_tails, at::kFloat);
      add(kKdNegativeIds, guesses.negative_ids, at::kInt);
      add(kKdNegativeLogProbs, guesses.negative_log_probs, type);
      writer_.commit(*claim, tensors);
    }
    return read_;
  }

 private:
  TeacherGuesses read_shard(int64_t shard) {
    std::vector<TeacherGuesses> parts;
    const int64_t others = writer_.labels_done(), end = meta_.end_document(shard);
    int64_t here = 0;
    for (int64_t first = meta_.first_document(shard); first < end; first += batch_) {
      hooks_.check_stop();
      const auto begin = documents_.all.begin() + first;
      const int64_t count = std::min(batch_, end - first);
      parts.push_back(teacher_.read({begin, begin + count}, first));
      check_finite(parts.back(), first);
      here += parts.back().ids.size(0);
      line_.show(others + here);
    }
    read_ += here;
    return joined_guesses(parts);
  }

  int64_t batch_;
  const KdMeta& meta_;
  const KdDocuments& documents_;
  Teacher teacher_;
  KdCacheWriter& writer_;
  const DataHooks& hooks_;
  ProgressLine line_;
  int64_t read_ = 0;
};

/// kd_generate: the documents with the teacher's own answers.
KdDocuments teacher_answers(const RunConfig& config, const OpenedModel& opened,
                            const std::string& teacher_sha256, const KdDocuments& documents,
                            const DataHooks& hooks) {
  const DataCoding coding = open_data_coding(config);
  const AnswerPlan plan =
      plan_answers(config, opened.folder, coding.coder.tokenizer, coding.layout);
  const AnswerJob job{
      .folder = *config.kd.kd_cache,
      .teacher = opened.model,
      .teacher_sha256 = teacher_sha256,
      .coder = coding.coder,
      .plan = plan,
      .longest = config.kd.kd_length.value_or(config.data.cutoff_len),
      .vocabulary = std::min(vocabulary_of(teacher_config(config)), vocabulary_of(config)),
      .batch = config.kd.kd_batch_size};
  log_info(concat("the teacher answers ", with_commas(documents.all.size()), " prompts"));
  return answered(job, documents, hooks);
}

void report(const std::string& folder, const KdMeta& meta, int64_t read, double seconds,
            bool as_json) {
  const double speed = seconds > 0 ? static_cast<double>(read) / seconds : 0;
  const Json json = {{"kd_cache", folder},
                     {"teacher", meta.teacher},
                     {"documents", meta.documents},
                     {"held_out", meta.held_out},
                     {"tokens", meta.tokens},
                     {"label_tokens", meta.label_tokens},
                     {"shards", meta.shards()},
                     {"bytes", cache_bytes(meta)},
                     {"written_label_tokens", read},
                     {"seconds", seconds},
                     {"label_tokens_per_second", speed}};
  if (as_json)
    std::fputs(dump_json(json).c_str(), stdout);
  else
    std::printf("%s: complete, %s labelled tokens in %lld shards%s\n", folder.c_str(),
                with_commas(static_cast<uint64_t>(meta.label_tokens)).c_str(),
                static_cast<long long>(meta.shards()),
                read == 0 ? " (it was there)"
                          : concat(", ", with_commas(static_cast<uint64_t>(read)), " written in ",
                                   human_seconds(seconds))
                                .c_str());
}

}  // namespace

int run_kd_cache(const Invocation& invocation) {
  RunConfig config = invocation.config;
  if (!config.kd.kd_cache || config.kd.kd_cache->empty())
    fail(ExitCode::configuration, "kd_cache: is missing; name the folder to write");
  if (!config.model.model_name_or_path) config.model.model_name_or_path = config.kd.kd_teacher;
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  const std::string& folder = *config.kd.kd_cache;
  const RunConfig teacher = teacher_config(config);
  if (config.kd.kd_teacher) check_same_tokens(config, "kd_teacher", teacher);
  KdDocuments documents = prepare_kd_documents(config);
  if (!config.kd.kd_generate) announce(folder, meta_of(config, documents));

  const OpenedModel opened = open_model(teacher);
  const std::string teacher_sha256 = teacher_hash(teacher, opened);
  DataProgress progress(config);
  const DataHooks hooks = progress.hooks();
  if (config.kd.kd_generate) {
    documents = teacher_answers(config, opened, teacher_sha256, documents, hooks);
    announce(folder, meta_of(config, documents));
  }
  KdMeta meta = meta_of(config, documents);
  meta.teacher_sha256 = teacher_sha256;
  KdCacheWriter writer(folder, meta, documents.all, documents.closing_id, hooks);
  const auto start = Clock::now();
  int64_t read = 0;
  if (!writer.is_complete())
    read = CacheJob(config, meta, documents, opened.model, writer, hooks).run();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  writer.finish();
  if (config.kd.kd_generate) remove_answers(folder);
  report(folder, meta, read, seconds, invocation.options.json);
  return 0;
}

}  // namespace isogrid
