#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

/// What became of the records of one dataset.
struct EncodeCounts {
  int64_t records = 0;             // read
  int64_t examples = 0;            // kept
  int64_t tokens = 0;              // of those kept
  int64_t label_tokens = 0;        // of those kept; the first token of a document never counts
  int64_t truncated_examples = 0;  // of those kept
  int64_t truncated_tokens = 0;    // cut off them
  int64_t unlabelled = 0;          // dropped: nothing in them would be trained
  int64_t bad_records = 0;         // dropped: unusable
  int64_t calls_without_text = 0;  // kept, but for words beside tool calls
  std::vector<int64_t> records_of_file;
  std::vector<std::string> first_bad;  // file:line and reason, as many as are worth reading

  static constexpr size_t kMostShown = 10;
  /// Adds what came later in the same files.
  EncodeCounts& operator+=(const EncodeCounts& later);
};

std::string counts_to_json(const EncodeCounts& counts, int32_t closing_id);
EncodeCounts counts_from_json(std::string_view text, const std::string& name, int32_t& closing_id);

}  // namespace isogrid
