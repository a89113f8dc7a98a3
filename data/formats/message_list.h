#pragma once
#include <optional>
#include <string>
#include <vector>

#include "data/dataset_entry.h"
#include "data/records/record.h"

namespace isogrid {

/// One element of a list of messages, before roles are understood.
struct RawMessage {
  std::string role;
  std::optional<std::string> content;  // unset: null or left out
  std::vector<std::string> calls;      // JSON of each tool call's function
  std::optional<bool> trained;         // of the keys train and weight
};

/// The messages in the column of this name, by the tags of the entry. Content may be a list of
/// text parts; parts of another kind are refused (65).
std::vector<RawMessage> read_messages(const DatasetEntry& entry, const Record& record);

}  // namespace isogrid
