#pragma once
#include <string>

#include "data/dataset_entry.h"
#include "data/formats/example.h"
#include "data/records/record.h"

namespace isogrid {

/// A record as a conversation with an answer. One that cannot be used is refused (65), with the
/// reason but without its place.
void read_conversation(const DatasetEntry& entry, const Record& record, Example& example);

/// A record as plain text: what stands in its first question.
void read_plain_text(const DatasetEntry& entry, const Record& record, Example& example);

void read_alpaca(const DatasetEntry& entry, const Record& record, Example& example);
void read_sharegpt(const DatasetEntry& entry, const Record& record, Example& example);
void read_openai(const DatasetEntry& entry, const Record& record, Example& example);

/// The non-empty ones of prompt and query, a line each.
std::string question_of(const DatasetEntry& entry, const Record& record);

/// A text column; empty where it is null. One that the record has not is refused.
const std::string& text_of(const Record& record, const std::string& column);
/// The same, empty too where the data have no such column or leave it out.
const std::string& text_if_any(const Record& record, const std::string& column);
/// JSON text of a column that may hold text or JSON; empty where there is none.
const std::string& json_if_any(const Record& record, const std::string& column);

}  // namespace isogrid
