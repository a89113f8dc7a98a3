#include "data/encode_dataset.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "core/error.h"
#include "data/formats/formats.h"

namespace isogrid {
namespace {

// A chunk is shared out in blocks and written in order; blocks are small enough to end together.
constexpr size_t kChunkBytes = size_t{8} << 20;
constexpr size_t kChunkRecords = 1 << 16;
constexpr size_t kBlockBytes = size_t{64} << 10;
constexpr size_t kBlockRecords = 256;

/// A run of records and what they became.
struct Block {
  size_t first = 0, last = 0;
  std::vector<uint32_t> words;
  std::vector<uint32_t> lengths;  // of each example kept
  std::vector<uint64_t> lines;
  EncodeCounts counts;

  void begin(size_t first_record) {
    first = last = first_record;
    words.clear();
    lengths.clear();
    lines.clear();
    counts = EncodeCounts();
  }
};

/// What one thread keeps from record to record.
class BlockEncoder {
 public:
  explicit BlockEncoder(const EncodeJob& job)
      : job_(job), encoder_(*job.tokenizer, *job.options), record_(job.entry->column_names()) {}

  void run(const RecordSource& source, const std::vector<RawRecord>& records, Block& block,
           const std::function<bool()>& stop) {
    for (size_t i = block.first; i < block.last; ++i) {
      if (stop && stop()) return;
      ++block.counts.records;
      try {
        source.read(records[i], record_);
        if (job_.plain_text)
          read_plain_text(*job_.entry, record_, example_);
        else
          read_conversation(*job_.entry, record_, example_);
        encoder_.encode(example_, encoded_);
      } catch (const Error& error) {
        if (error.code() != ExitCode::refused_input) throw;
        note_bad(records[i], error.what(), block.counts);
        continue;
      }
      keep(records[i], block);
    }
  }

 private:
  void note_bad(const RawRecord& raw, const std::string& why, EncodeCounts& counts) const {
    ++counts.bad_records;
    if (counts.first_bad.size() >= EncodeCounts::kMostShown) return;
    const std::string& file = record_.file();
    const bool has_place = why.starts_with(file + ":");
    counts.first_bad.push_back(has_place ? why : concat(file, ":", raw.line, ": ", why));
  }

  void keep(const RawRecord& raw, Block& block) {
    const std::vector<uint32_t>& words = encoded_.words;
    const auto labels =
        words.empty() ? 0 : std::count_if(words.begin() + 1, words.end(), TokenWord::has_label);
    EncodeCounts& counts = block.counts;
    if (labels == 0) {
      ++counts.unlabelled;
      return;
    }
    ++counts.examples;
    counts.tokens += static_cast<int64_t>(words.size());
    counts.label_tokens += labels;
    counts.truncated_examples += encoded_.truncated_tokens > 0;
    counts.truncated_tokens += encoded_.truncated_tokens;
    counts.calls_without_text += example_.lost_text;
    block.words.insert(block.words.end(), words.begin(), words.end());
    block.lengths.push_back(static_cast<uint32_t>(words.size()));
    block.lines.push_back(raw.line);
  }

  const EncodeJob& job_;
  ExampleEncoder encoder_;
  Record record_;
  Example example_;
  EncodedExample encoded_;
};

/// Reads chunk after chunk of one file.
class ChunkReader {
 public:
  ChunkReader(RecordSource& source, int64_t most_records) : source_(source), left_(most_records) {}

  bool next(std::vector<RawRecord>& records) {
    records.clear();
    size_t bytes = 0;
    RawRecord raw;
    while (left_ > 0 && bytes < kChunkBytes && records.size() < kChunkRecords &&
           source_.next(raw)) {
      records.push_back(raw);
      bytes += raw.text.size();
      --left_;
    }
    return !records.empty();
  }

 private:
  RecordSource& source_;
  int64_t left_;
};

size_t cut_into_blocks(const std::vector<RawRecord>& records, std::vector<Block>& blocks) {
  size_t count = 0;
  for (size_t at = 0; at < records.size(); ++count) {
    if (count == blocks.size()) blocks.emplace_back();
    Block& block = blocks[count];
    block.begin(at);
    for (size_t bytes = 0;
         at < records.size() && bytes < kBlockBytes && at - block.first < kBlockRecords; ++at)
      bytes += records[at].text.size();
    block.last = at;
  }
  return count;
}

/// Runs `work(thread, block)` for every block; the first failure in block order is thrown.
template <typename Work>
void share_out(size_t blocks, size_t threads, Work work) {
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> errors(blocks);
  const auto run = [&](size_t thread) {
    for (size_t block = next++; block < blocks; block = next++) {
      try {
        work(thread, block);
      } catch (...) {
        errors[block] = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> workers;
    for (size_t thread = 1; thread < std::min(threads, blocks); ++thread)
      workers.emplace_back(run, thread);
    run(0);
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

void write_block(const Block& block, uint32_t file, ExampleWriter& writer) {
  std::span<const uint32_t> words(block.words);
  for (size_t i = 0; i < block.lengths.size(); ++i) {
    writer.add(words.first(block.lengths[i]), {.file = file, .line = block.lines[i]});
    words = words.subspan(block.lengths[i]);
  }
}

unsigned thread_count(unsigned wanted) {
  return wanted > 0 ? wanted : std::clamp(std::thread::hardware_concurrency(), 1u, 16u);
}

}  // namespace

void DataHooks::check_stop() const {
  if (stop && stop())
    fail(ExitCode::stopped_early, "stopped while preparing the data; start again to go on");
}

void check_bad_records(const std::string& dataset, const EncodeCounts& counts, int64_t allowed) {
  if (counts.bad_records <= allowed) return;
  std::string list;
  for (const std::string& line : counts.first_bad) list += concat("\n  ", line);
  const int64_t more = counts.bad_records - static_cast<int64_t>(counts.first_bad.size());
  if (more > 0) list += concat("\n  and ", more, " more up to here");
  fail(ExitCode::refused_input, "dataset '", dataset, "': ", counts.bad_records,
       counts.bad_records == 1 ? " record" : " records", " cannot be used, allowed are ", allowed,
       " (max_bad_rows):", list);
}

EncodeCounts encode_dataset(const EncodeJob& job, const DataHooks& hooks, ExampleWriter& writer) {
  std::vector<BlockEncoder> encoders;
  for (unsigned i = 0; i < thread_count(hooks.threads); ++i) encoders.emplace_back(job);
  int64_t bytes_of_all = 0, bytes_before = 0;
  for (const auto& file : job.bytes) bytes_of_all += static_cast<int64_t>(file->bytes().size());
  EncodeCounts counts;
  std::vector<RawRecord> records;
  std::vector<Block> blocks;
  for (size_t file = 0; file < job.bytes.size(); ++file) {
    const std::string_view bytes = as_text(job.bytes[file]->bytes());
    const auto source = open_records(job.files->type, bytes, job.files->paths[file]);
    const int64_t records_before = counts.records;
    ChunkReader chunks(*source,
                       job.most_records > 0 ? job.most_records - counts.records : INT64_MAX);
    while (chunks.next(records)) {
      const size_t count = cut_into_blocks(records, blocks);
      share_out(count, encoders.size(), [&](size_t thread, size_t block) {
        encoders[thread].run(*source, records, blocks[block], hooks.stop);
      });
      hooks.check_stop();
      for (size_t block = 0; block < count; ++block) {
        write_block(blocks[block], static_cast<uint32_t>(file), writer);
        counts += blocks[block].counts;
      }
      check_bad_records(job.entry->name, counts, job.most_bad_records);
      hooks.show("tokenising", bytes_before + static_cast<int64_t>(source->consumed()),
                 bytes_of_all);
    }
    counts.records_of_file.push_back(counts.records - records_before);
    bytes_before += static_cast<int64_t>(bytes.size());
  }
  return counts;
}

}  // namespace isogrid
