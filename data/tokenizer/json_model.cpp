#include <algorithm>

#include "data/tokenizer/limits.h"
#include "data/tokenizer/tokenizer_json.h"

namespace isogrid {
namespace {

Vocabulary read_vocabulary(const JsonFields& model) {
  JsonReader reader = model.at("vocab");
  if (reader.type() != JsonReader::Type::object)
    model.fail("vocab", concat(" is ", json_type_name(reader.type()),
                               "; an object of tokens and ids is needed"));
  Vocabulary vocabulary;
  int64_t largest = -1;
  reader.enter_object();
  for (std::string token; reader.next_key(token);) {
    const size_t place = reader.place();
    if (token.size() > kTokenizerPieceBytes)
      reader.fail_at(place, concat("model.vocab: a token of ", token.size(), " bytes; at most ",
                                   kTokenizerPieceBytes, " are allowed"));
    if (vocabulary.count() == kTokenizerTokens)
      reader.fail_at(place, concat("model.vocab: more than ", kTokenizerTokens, " tokens"));
    if (reader.type() != JsonReader::Type::number)
      reader.fail_here(concat("model.vocab['", token, "'] is ", json_type_name(reader.type()),
                              "; an id is needed"));
    const int64_t id = reader.integer();
    if (!tokenizer_id_is_dense(id, kTokenizerTokens))
      reader.fail_at(place, concat("model.vocab['", token, "'] = ", id, ": ids are from 0 to ",
                                   2 * kTokenizerTokens - 1));
    // A file of n bytes has fewer than n / 4 tokens, which bounds dense ids before all are known.
    if (static_cast<size_t>(id) > reader.text_size() / 2)
      reader.fail_at(place, concat("model.vocab['", token, "'] = ", id,
                                   ": far beyond the number of tokens in the file"));
    if (!vocabulary.add(token, static_cast<int32_t>(id)))
      reader.fail_at(place, concat("model.vocab['", token, "'] = ", id,
                                   ": this token or this id is there twice"));
    largest = std::max(largest, id);
  }
  if (!tokenizer_id_is_dense(largest, vocabulary.count()) && largest >= 0)
    model.fail("vocab", concat(": the largest id is ", largest, ", but there are only ",
                               vocabulary.count(), " tokens"));
  return vocabulary;
}

/// One merge as "left right" or ["left", "right"].
struct MergeReader {
  JsonReader& reader;
  const Vocabulary& vocabulary;
  size_t index = 0;
  int32_t ids[2] = {};
  std::string joined = {};

  int32_t id_of(std::string_view token, size_t place) const {
    const int32_t id = vocabulary.find(token);
    if (id == Vocabulary::kNone)
      reader.fail_at(place, concat("model.merges[", index, "]: '", token,
                                   "' is not in model.vocab"));
    return id;
  }

  std::string_view from_pair() {
    const size_t place = reader.place();
    size_t halves = 0;
    joined.clear();
    reader.enter_array();
    while (reader.next_item()) {
      if (++halves > 2) break;
      const size_t here = reader.place();
      const std::string_view half = reader.string();
      joined.append(half);
      ids[halves - 1] = id_of(half, here);
    }
    if (halves != 2)
      reader.fail_at(place, concat("model.merges[", index, "] must hold two strings"));
    return joined;
  }

  std::string_view from_line() {
    const size_t place = reader.place();
    const std::string_view line = reader.string();
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      reader.fail_at(place, concat("model.merges[", index, "] = '", line,
                                   "': two tokens with one space between are needed"));
    ids[0] = id_of(line.substr(0, space), place);
    ids[1] = id_of(line.substr(space + 1), place);
    joined.assign(line.substr(0, space)).append(line.substr(space + 1));
    return joined;
  }
};

std::vector<Merge> read_merges(const JsonFields& model, const Vocabulary& vocabulary) {
  JsonReader reader = model.at("merges");
  if (reader.type() != JsonReader::Type::array)
    model.fail("merges", concat(" is ", json_type_name(reader.type()), "; an array is needed"));
  std::vector<Merge> merges;
  MergeReader merge{reader, vocabulary};
  reader.enter_array();
  for (; reader.next_item(); ++merge.index) {
    const size_t place = reader.place();
    const bool line = reader.type() == JsonReader::Type::string;
    const int32_t joined = merge.id_of(line ? merge.from_line() : merge.from_pair(), place);
    merges.push_back({merge.ids[0], merge.ids[1], joined});
  }
  return merges;
}

}  // namespace

void read_bpe_model(JsonReader section, TokenizerParts& parts, bool byte_level) {
  const JsonFields model(section, "model");
  if (model.has("type") && model.text("type") != "BPE")
    model.fail("type", concat(" is '", model.text("type"), "'; BPE is supported"));
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!model.text(affix, "").empty())
      model.fail(affix, concat(" is '", model.text(affix), "'; only the empty one is supported"));
  if (model.has("dropout") && model.at("dropout").number() != 0)
    model.fail("dropout", " makes ids random; null is supported");
  BpeOptions options{.byte_level = byte_level,
                     .ignore_merges = model.flag("ignore_merges", false),
                     .byte_fallback = model.flag("byte_fallback", false),
                     .fuse_unk = model.flag("fuse_unk", false),
                     .unk_token = model.text("unk_token", "")};
  Vocabulary vocabulary = read_vocabulary(model);
  const std::vector<Merge> merges = read_merges(model, vocabulary);
  parts.model.build(std::move(options), std::move(vocabulary), merges);
}

}  // namespace isogrid
