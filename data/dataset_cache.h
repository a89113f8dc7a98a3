#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/encode_dataset.h"
#include "data/text_coder.h"

namespace isogrid {

/// One dataset, tokenised, with what is to be remembered of it.
struct CachedDataset {
  struct File {
    std::string path;
    uint64_t bytes = 0;
    std::string sha256;
  };
  DatasetEntry entry;
  std::vector<File> files;
  std::shared_ptr<const ExampleFile> examples;
  std::string cache_path;
  bool was_there = false;  // nothing had to be tokenised
};

/// What, beside the records themselves, decides what they become.
struct CacheSettings {
  EncodeOptions options;
  bool plain_text = false;
  int64_t most_records = 0;
  int64_t most_bad_records = 0;
  std::string folder;       // where caches live
  bool overwrites = false;  // make it anew even if it fits
};

/// Finds the tokenised records of a dataset by the content of its files, the tokenizer and the
/// settings, or makes them. Of several processes that need the same, one works and the others wait.
CachedDataset open_dataset(const DatasetEntry& entry, const TextCoder& coder,
                           const CacheSettings& settings, const DataHooks& hooks);

/// tokenized_path, else rows/ in ISOGRID_CACHE, ISOGRID_HOME or ~/.cache/isogrid.
std::string cache_folder(const std::string& tokenized_path);

}  // namespace isogrid
