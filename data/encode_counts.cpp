#include "data/encode_counts.h"

#include <algorithm>

#include "core/json.h"

namespace isogrid {
namespace {

/// The one list of the numbers.
template <typename Counts, typename Visit>
void visit_counts(Counts& counts, Visit visit) {
  visit("records", counts.records);
  visit("examples", counts.examples);
  visit("tokens", counts.tokens);
  visit("label_tokens", counts.label_tokens);
  visit("truncated_examples", counts.truncated_examples);
  visit("truncated_tokens", counts.truncated_tokens);
  visit("unlabelled", counts.unlabelled);
  visit("bad_records", counts.bad_records);
  visit("calls_without_text", counts.calls_without_text);
}

}  // namespace

EncodeCounts& EncodeCounts::operator+=(const EncodeCounts& later) {
  std::vector<int64_t> added;
  visit_counts(later, [&](const char*, int64_t number) { added.push_back(number); });
  auto next = added.begin();
  visit_counts(*this, [&](const char*, int64_t& number) { number += *next++; });
  for (const std::string& text : later.first_bad)
    if (first_bad.size() < kMostShown) first_bad.push_back(text);
  return *this;
}

std::string counts_to_json(const EncodeCounts& counts, int32_t closing_id) {
  Json json = Json::object();
  visit_counts(counts, [&](const char* name, int64_t number) { json[name] = number; });
  json["records_of_file"] = counts.records_of_file;
  json["first_bad"] = counts.first_bad;
  json["closing_id"] = closing_id;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

EncodeCounts counts_from_json(std::string_view text, const std::string& name, int32_t& closing_id) {
  const Json json = parse_json(text, name);
  const JsonFields fields(json, name);
  EncodeCounts counts;
  visit_counts(counts, [&](const char* key, int64_t& number) { number = fields.integer(key, 0); });
  for (const Json& number : fields.value("records_of_file"))
    counts.records_of_file.push_back(number.is_number_integer() ? number.get<int64_t>() : 0);
  counts.first_bad = fields.strings("first_bad");
  closing_id = static_cast<int32_t>(fields.integer("closing_id", 0, INT32_MAX));
  return counts;
}

}  // namespace isogrid
