#include "data/dataset_cache.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"

namespace isogrid {
namespace {

constexpr size_t kHashedAtOnce = size_t{16} << 20;
constexpr int kEncodingVersion = 1;  // one more whenever the same input would give other rows

/// Held while a cache is made; given back when the process ends, however it ends.
class CacheLock {
 public:
  CacheLock(const std::string& path, const DataHooks& hooks)
      : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (!file_)
      fail(ExitCode::io, path, ": cannot be made: ", std::strerror(errno),
           "; tokenized_path names another folder for tokenised rows");
    while (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
      // A file system without locks: each process writes its own file, and all are the same.
      if (errno != EWOULDBLOCK && errno != EINTR) return;
      hooks.check_stop();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

 private:
  FileDescriptor file_;
};

std::string hash_of_file(const MappedFile& file, const DataHooks& hooks) {
  Sha256 hash;
  const ByteSpan bytes = file.bytes();
  for (size_t at = 0; at < bytes.size(); at += kHashedAtOnce) {
    hooks.check_stop();
    hash.update(bytes.subspan(at, std::min(kHashedAtOnce, bytes.size() - at)));
    hooks.show("reading", static_cast<int64_t>(at), static_cast<int64_t>(bytes.size()));
  }
  return to_hex(hash.finish());
}

Json described_options(const EncodeOptions& options, bool plain_text) {
  Json json{{"plain_text", plain_text},
            {"bos", options.bos},
            {"eos", options.eos},
            {"cutoff_len", options.whole_texts ? 0 : options.cutoff_len}};
  if (plain_text) {
    json["bos_before_text"] = options.bos_before_text;
    return json;
  }
  const TurnOptions& turns = options.turns;
  json["template"] = options.layout->name;
  json["enable_thinking"] = turns.enable_thinking ? Json(*turns.enable_thinking) : Json();
  json["preserve_thinking"] = turns.preserve_thinking;
  json["default_system"] = turns.default_system ? Json(*turns.default_system) : Json();
  json["tool_dialect"] = turns.tool_dialect ? Json(static_cast<int>(*turns.tool_dialect)) : Json();
  json["mask_history"] = turns.mask_history;
  json["train_on_prompt"] = turns.train_on_prompt;
  if (turns.today) json["today"] = {turns.today->year, turns.today->month, turns.today->day};
  return json;
}

/// Of everything that decides what is in the cache.
Sha256Digest key_of(const CachedDataset& dataset, FileType type, const TextCoder& coder,
                    const CacheSettings& settings) {
  Json json{{"encoding", kEncodingVersion}, {"tokenizer", coder.sha256}};
  json["options"] = described_options(settings.options, settings.plain_text);
  json["most_records"] = settings.most_records;
  json["type"] = static_cast<int>(type);
  json["format"] = static_cast<int>(dataset.entry.format);
  const auto add = [&](const char* name, const std::string& value) { json["names"][name] = value; };
  DatasetEntry entry = dataset.entry;
  entry.columns.visit(add);
  entry.tags.visit(add);
  for (const CachedDataset::File& file : dataset.files) json["files"].push_back(file.sha256);
  return sha256(as_bytes(json.dump()));
}

/// A dataset nobody described is described by its first record.
void look_at_first_record(const EncodeJob& job, DatasetEntry& entry) {
  if (!entry.is_guessed || job.bytes.empty()) return;
  const auto source =
      open_records(job.files->type, as_text(job.bytes[0]->bytes()), job.files->paths[0]);
  RawRecord raw;
  if (!source->next(raw)) return;
  guess_columns(entry, source->columns(raw));
  if (entry.format == RecordFormat::alpaca) return;
  Record record(entry.column_names());
  source->read(raw, record);
  const Cell& messages = record.cell(entry.columns.messages);
  const auto elements = open_json_records(messages.value, job.files->paths[0]);
  if (elements->next(raw)) guess_tags(entry, elements->columns(raw));
}

void check_entry(const DatasetEntry& entry) {
  if (entry.ranking)
    fail(ExitCode::configuration, entry.place,
         ": \"ranking\": true marks pairs of answers, which the stages rm and dpo train on; this "
         "stage needs one answer for each question");
  if (!entry.columns.kto_tag.empty())
    fail(ExitCode::configuration, entry.place,
         ": \"kto_tag\" marks good and bad answers, which the stage kto trains on");
  if (!entry.columns.images.empty() || !entry.columns.videos.empty() ||
      !entry.columns.audios.empty())
    fail(ExitCode::configuration, entry.place,
         ": \"images\", \"videos\" and \"audios\" are not read; only text can be trained on");
}

std::shared_ptr<const ExampleFile> open_cache(const CachedDataset& dataset, const Sha256Digest& key,
                                              const DatasetFiles& files) {
  std::string why;
  auto examples = ExampleFile::open(dataset.cache_path, key, files.paths, why);
  if (!why.empty()) log_warning(concat(dataset.cache_path, ": ", why, "; it is made anew"));
  return examples;
}

/// Encodes the records into the cache, unless another process has done so meanwhile.
void make_cache(const EncodeJob& job, const Sha256Digest& key, const CacheSettings& settings,
                const DataHooks& hooks, CachedDataset& dataset) {
  make_directories(settings.folder);
  const CacheLock lock(settings.folder + "/" + to_hex(key) + ".lock", hooks);
  if (!settings.overwrites) dataset.examples = open_cache(dataset, key, *job.files);
  dataset.was_there = dataset.examples != nullptr;
  if (dataset.was_there) return;
  write_file_durably(dataset.cache_path, /*expected_size=*/0, [&](OutputFile& file) {
    ExampleWriter writer(file);
    const EncodeCounts counts = encode_dataset(job, hooks, writer);
    writer.finish(key, ExampleEncoder(*job.tokenizer, settings.options).closing_id(), counts);
  });
  dataset.examples = open_cache(dataset, key, *job.files);
  if (!dataset.examples)
    fail(ExitCode::io, dataset.cache_path, ": what was just written reads differently");
}

}  // namespace

std::string cache_folder(const std::string& tokenized_path) {
  if (!tokenized_path.empty()) return tokenized_path;
  for (const char* name : {"ISOGRID_CACHE", "ISOGRID_HOME"})
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0')
      return std::string(value) + "/rows";
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "." : home) + "/.cache/isogrid/rows";
}

CachedDataset open_dataset(const DatasetEntry& entry, const TextCoder& coder,
                           const CacheSettings& settings, const DataHooks& hooks) {
  CachedDataset dataset{.entry = entry, .files = {}, .examples = {}, .cache_path = {}};
  check_entry(entry);
  const DatasetFiles files = find_files(entry);
  EncodeJob job{.entry = &dataset.entry,
                .files = &files,
                .bytes = {},
                .tokenizer = &coder.tokenizer,
                .options = &settings.options,
                .plain_text = settings.plain_text,
                .most_records = settings.most_records,
                .most_bad_records = settings.most_bad_records};
  for (size_t i = 0; i < files.paths.size(); ++i) {
    job.bytes.push_back(map_file(files, i));
    dataset.files.push_back({.path = files.paths[i],
                             .bytes = job.bytes[i]->bytes().size(),
                             .sha256 = hash_of_file(*job.bytes[i], hooks)});
  }
  look_at_first_record(job, dataset.entry);
  const Sha256Digest key = key_of(dataset, files.type, coder, settings);
  dataset.cache_path = settings.folder + "/" + to_hex(key) + ".rows";
  // A cache that is there needs no lock, so it may lie where nothing can be written.
  if (!settings.overwrites) dataset.examples = open_cache(dataset, key, files);
  dataset.was_there = dataset.examples != nullptr;
  if (!dataset.was_there) make_cache(job, key, settings, hooks, dataset);
  // A cache may have been made when more were allowed.
  check_bad_records(entry.name, dataset.examples->counts(), settings.most_bad_records);
  return dataset;
}

}  // namespace isogrid
