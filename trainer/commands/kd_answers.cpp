#include "trainer/commands/kd_answers.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "core/error.h"
#include "core/hash.h"
#include "core/io_writer.h"
#include "core/json.h"
#include "core/log.h"
#include "data/kd_writer.h"
#include "trainer/answer_text.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

/// Documents per file of answers: what an interruption can cost.
constexpr int64_t kAnswersPerFile = 32;
constexpr const char* kAnswersPrefix = ".answers-";
constexpr const char* kAnswersSetting = "kd_generate";  // of KdMeta::made_with

/// Of everything the answers depend on.
Sha256Digest answers_key(const AnswerJob& job, const KdDocuments& documents) {
  const SamplingSettings& how = job.plan.settings.sampling;
  const Json facts = {
      {"teacher", job.teacher_sha256},
      {"documents", kd_documents_hash(documents.all, documents.closing_id)},
      {"sampling",
       {how.do_sample, how.temperature, how.top_k, how.top_p, how.min_p, how.repetition_penalty}},
      {"lengths", {job.plan.settings.max_new_tokens, job.plan.settings.max_length, job.longest}},
      {"stop_ids", job.plan.stop_ids},
      {"stop_string", job.plan.layout ? job.plan.layout->stop_string : ""},
      {"vocabulary", job.vocabulary},
      {"seed", job.plan.seed}};
  return sha256(as_bytes(facts.dump()));
}

std::vector<int32_t> prompt_ids(KdDocument document) {
  std::vector<int32_t> ids;
  for (const uint32_t word : document.first(static_cast<size_t>(prompt_tokens(document))))
    ids.push_back(static_cast<int32_t>(TokenWord::id(word)));
  return ids;
}

/// Files of answers in the cache's folder, each written whole by whoever claims it.
class AnswerFiles {
 public:
  AnswerFiles(const AnswerJob& job, const KdDocuments& documents, const DataHooks& hooks)
      : job_(job),
        documents_(documents),
        hooks_(hooks),
        key_(answers_key(job, documents)),
        count_((static_cast<int64_t>(documents.all.size()) + kAnswersPerFile - 1) /
               kAnswersPerFile) {}

  /// Answers what nobody has answered or is answering; waits for the others.
  KdDocuments run() {
    make_directories(job_.folder);
    ProgressLine line("Answering, prompts", static_cast<int64_t>(documents_.all.size()));
    for (;;) {
      if (auto written = documents_of_cache()) return std::move(*written);
      bool others_work = false;
      int64_t there = 0;
      for (int64_t file = 0; file < count_; ++file) {
        if (open(file)) {
          line.show(
              std::min(++there * kAnswersPerFile, static_cast<int64_t>(documents_.all.size())));
          continue;
        }
        auto lock = FileClaim::attempt(path(file) + ".lock");
        if (!lock) {
          others_work = true;
          continue;
        }
        if (documents_of_cache()) break;  // written, and the answers removed, between the looks
        if (!open(file)) write(file);
        lock->release();
        line.show(std::min(++there * kAnswersPerFile, static_cast<int64_t>(documents_.all.size())));
      }
      if (there == count_) break;
      if (!others_work) continue;
      hooks_.check_stop();
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return gathered();
  }

 private:
  std::string path(int64_t file) const {
    return concat(job_.folder, "/", kAnswersPrefix, file, ".rows");
  }
  std::shared_ptr<const ExampleFile> open(int64_t file) const {
    std::string why;
    return ExampleFile::open(path(file), key_, {}, why);
  }

  void write(int64_t file) const {
    const int64_t first = file * kAnswersPerFile;
    const int64_t last =
        std::min(first + kAnswersPerFile, static_cast<int64_t>(documents_.all.size()));
    std::vector<std::vector<uint32_t>> all;
    for (int64_t begin = first; begin < last; begin += job_.batch)
      for (auto& words : answers(begin, std::min(begin + job_.batch, last)))
        all.push_back(std::move(words));
    write_file_durably(path(file), 0, [&](OutputFile& output) {
      ExampleWriter writer(output);
      EncodeCounts counts;
      for (const std::vector<uint32_t>& words : all) {
        ++counts.examples;
        writer.add(words, {.file = 0, .line = static_cast<uint64_t>(first + counts.examples)});
      }
      writer.finish(key_, /*closing_id=*/0, counts);
    });
  }

  /// Of documents [first, last): prompt and answer; the prompt alone where nothing was answered.
  std::vector<std::vector<uint32_t>> answers(int64_t first, int64_t last) const {
    GenerationRequest request = job_.plan.request();
    request.max_length =
        request.max_length > 0 ? std::min(request.max_length, job_.longest) : job_.longest;
    for (int64_t i = first; i < last; ++i) {
      request.prompts.push_back(prompt_ids(documents_.all[static_cast<size_t>(i)]));
      request.streams.push_back(static_cast<uint64_t>(i));
    }
    std::vector<AnswerText> texts(request.prompts.size(),
                                  AnswerText(job_.plan, job_.coder.tokenizer));
    request.on_token = [&](int64_t prompt, int32_t id) {
      hooks_.check_stop();
      AnswerText& text = texts[static_cast<size_t>(prompt)];
      if (!stop_string().empty()) text.push(id);
      return id < job_.vocabulary && !text.stopped();
    };
    const GenerationResult result = generate(job_.teacher, request);
    std::vector<std::vector<uint32_t>> documents(request.prompts.size());
    for (size_t i = 0; i < documents.size(); ++i) {
      for (const int32_t id : request.prompts[i])
        documents[i].push_back(TokenWord::make(id, /*trained=*/false));
      for (const int32_t id : kept(result.ids[i], texts[i].stopped()))
        documents[i].push_back(TokenWord::make(id, /*trained=*/true));
    }
    return documents;
  }

  std::string_view stop_string() const {
    return job_.plan.layout ? job_.plan.layout->stop_string : std::string_view();
  }

  /// Without a token the student does not have, and without the text that ended it.
  std::vector<int32_t> kept(std::vector<int32_t> ids, bool stopped_by_text) const {
    if (!ids.empty() && ids.back() >= job_.vocabulary) ids.pop_back();
    const Tokenizer& tokenizer = job_.coder.tokenizer;
    while (stopped_by_text && !ids.empty() &&
           tokenizer.decode(ids).find(stop_string()) != std::string::npos)
      ids.pop_back();
    return ids;
  }

  /// Those of a cache that was begun with these answers.
  std::optional<KdDocuments> documents_of_cache() const {
    const std::string meta_path = job_.folder + "/" + kKdMetaName;
    if (!fs::exists(meta_path)) return std::nullopt;
    const KdMeta meta = parse_kd_meta(read_text_file(meta_path, 64 << 20), meta_path);
    const auto made = meta.made_with.find(kAnswersSetting);
    if (made == meta.made_with.end() || made->second != to_hex(key_))
      fail(ExitCode::locked, "kd_cache: ", job_.folder,
           ": holds another cache: its answers are of another teacher, or to other prompts or "
           "under other settings. Give another folder, or delete this one");
    std::string why;
    const auto file =
        ExampleFile::open(job_.folder + "/" + kKdDocumentsName, kd_documents_file_key(), {}, why);
    if (!file) fail(ExitCode::refused_input, job_.folder, "/", kKdDocumentsName, ": ", why);
    KdDocuments documents = without_documents();
    documents.held_out = meta.held_out;
    documents.files.push_back(file);
    for (int64_t i = 0; i < file->examples(); ++i) documents.all.push_back(file->words(i));
    return documents;
  }

  KdDocuments gathered() const {
    KdDocuments documents = without_documents();
    const auto held_out_from = static_cast<int64_t>(documents_.all.size()) - documents_.held_out;
    int64_t number = 0, unfinished = 0;
    for (int64_t f = 0; f < count_; ++f) {
      const auto file = open(f);
      if (!file) fail(ExitCode::io, path(f), ": was there and is gone; start again");
      documents.files.push_back(file);
      for (int64_t i = 0; i < file->examples(); ++i, ++number) {
        const KdDocument words = file->words(i);
        if (kd_labels(words) == 0) continue;
        documents.all.push_back(words);
        if (number >= held_out_from) ++documents.held_out;
        if (!ends_by_itself(words)) ++unfinished;
      }
    }
    report(number - static_cast<int64_t>(documents.all.size()), unfinished);
    return documents;
  }

  bool ends_by_itself(KdDocument words) const {
    const auto last = static_cast<int32_t>(TokenWord::id(words.back()));
    const auto& stops = job_.plan.stop_ids;
    return !stop_string().empty() || std::find(stops.begin(), stops.end(), last) != stops.end();
  }

  void report(int64_t without_room, int64_t unfinished) const {
    if (without_room > 0)
      log_warning(concat("kd_generate: ", without_room, " of ", documents_.all.size(),
                         " prompts leave no room for an answer and are left out; a larger "
                         "cutoff_len keeps them"));
    if (unfinished > 0)
      log_warning(concat("kd_generate: ", unfinished, " of ", documents_.all.size(),
                         " answers are cut off by max_new_tokens or cutoff_len"));
  }

  KdDocuments without_documents() const {
    KdDocuments documents;
    documents.tokenizer_sha256 = documents_.tokenizer_sha256;
    documents.made_with = documents_.made_with;
    documents.made_with[kAnswersSetting] = to_hex(key_);
    return documents;
  }

  const AnswerJob& job_;
  const KdDocuments& documents_;
  const DataHooks& hooks_;
  Sha256Digest key_;
  int64_t count_;
};

}  // namespace

int64_t prompt_tokens(KdDocument document) {
  size_t end = document.size();
  while (end > 0 && !TokenWord::has_label(document[end - 1])) --end;
  while (end > 0 && TokenWord::has_label(document[end - 1])) --end;
  return static_cast<int64_t>(end);
}

KdDocuments answered(const AnswerJob& job, const KdDocuments& documents, const DataHooks& hooks) {
  for (const KdDocument document : documents.all)
    if (prompt_tokens(document) == 0)
      fail(ExitCode::configuration,
           "kd_generate: a document is all answer and no prompt; it takes conversations whose "
           "prompts have no labels (stage: sft, train_on_prompt: false)");
  KdDocuments result = AnswerFiles(job, documents, hooks).run();
  if (result.all.empty())
    fail(ExitCode::configuration,
         "kd_generate: no prompt leaves room for an answer; give a larger cutoff_len");
  return result;
}

void remove_answers(const std::string& folder) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kAnswersPrefix) || name.starts_with(concat(".", kAnswersPrefix)))
      fs::remove(entry.path(), ignored);
  }
}

}  // namespace isogrid
