#include <cstdio>
#include <string>

#include "configs/yaml.h"
#include "core/format.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "data/kd_format.h"
#include "data/records/record_source.h"
#include "data/tokenizer/limits.h"
#include "models/weight_index.h"
#include "trainer/commands/commands.h"
#include "trainer/terminal.h"

namespace isogrid {

/// The constants the readers themselves use, so that this page cannot be wrong about them.
int run_limits(const Invocation&) {
  Table table({"file", "limit", "value"});
  const auto count = [](uint64_t value) { return with_commas(value); };
  const auto bytes = [](uint64_t value) { return human_bytes(value); };
  const JsonLimits json;
  table.add({"safetensors", "header", bytes(kMaxSafetensorsHeader)});
  table.add({"safetensors", "tensors", count(kMaxTensors)});
  table.add({"safetensors", "bytes of a name", count(kMaxTensorName)});
  table.add({"safetensors", "dimensions", count(kMaxTensorRank)});
  table.add({"shard index", "file", bytes(kMaxShardIndexBytes)});
  table.add({"shard index", "shards", count(kMaxShards)});
  table.add({"tokenizer", "file", bytes(kTokenizerFileBytes)});
  table.add({"tokenizer", "tokens", count(kTokenizerTokens)});
  table.add({"tokenizer", "bytes of a token", count(kTokenizerPieceBytes)});
  table.add({"tokenizer", "steps of a normaliser or decoder", count(kTokenizerSteps)});
  table.add({"config.json", "file", bytes(json.max_bytes)});
  table.add({"JSON", "nesting", count(static_cast<uint64_t>(json.max_depth))});
  table.add({"data", "record", bytes(kLongestRecord)});
  table.add({"data", "nesting of a record", count(kDeepestRecord)});
  table.add({"teacher's cache", "vocabulary", count(kKdMostVocabulary)});
  table.add({"teacher's cache", "guesses, negatives", count(kKdMostCandidates)});
  table.add({"YAML", "file", bytes(yaml_byte_limit)});
  table.add({"YAML", "nesting", count(yaml_depth_limit)});
  table.add({"YAML", "values", count(yaml_node_limit)});
  std::fputs(table.text().c_str(), stdout);
  return 0;
}

}  // namespace isogrid
