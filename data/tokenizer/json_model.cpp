#include <algorithm>

#include "data/tokenizer/limits.h"
#include "data/tokenizer/tokenizer_json.h"

namespace isogrid {
namespace {

Vocabulary read_vocabulary(const SectionFields& model) {
  JsonReader reader = model.at("vocab");
  if (reader.peek() != JsonKind::object)
    model.refuse("vocab", concat(" is ", describe(reader.peek()),
                                 "; an object of tokens and ids is needed"));
  Vocabulary vocabulary;
  uint64_t largest = 0;
  reader.begin_object();
  for (std::string_view token; reader.next_key(token);) {
    if (token.size() > kTokenizerPieceBytes)
      reader.refuse("model.vocab: a token of ", token.size(), " bytes; at most ",
                    kTokenizerPieceBytes, " are allowed");
    if (vocabulary.count() == kTokenizerTokens)
      reader.refuse("model.vocab: more than ", kTokenizerTokens, " tokens");
    const uint64_t id = reader.natural("model.vocab");
    // Before all tokens are counted: a file of n bytes cannot hold n / 4 of them.
    if (!tokenizer_id_is_dense(id, std::min(kTokenizerTokens, reader.text_size() / 4)))
      reader.refuse("model.vocab['", token, "'] = ", id, ", far beyond the number of tokens");
    if (!vocabulary.add(token, static_cast<int32_t>(id)))
      reader.refuse("model.vocab['", token, "'] = ", id, ": this token or id is there twice");
    largest = std::max(largest, id);
  }
  if (vocabulary.count() > 0 && !tokenizer_id_is_dense(largest, vocabulary.count()))
    model.refuse("vocab", concat(": the largest id is ", largest, ", but there are only ",
                                 vocabulary.count(), " tokens"));
  return vocabulary;
}

bool is_zero(const JsonNumber& number) {
  switch (number.kind) {
    case JsonNumber::Kind::natural:
      return number.natural == 0;
    case JsonNumber::Kind::negative:
      return number.negative == 0;
    case JsonNumber::Kind::real:
      return number.real == 0;
  }
  return false;
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
      reader.at(place).refuse(
          concat("model.merges[", index, "]: '", token, "' is not in model.vocab"));
    return id;
  }

  std::string_view from_pair() {
    const size_t place = reader.place();
    size_t halves = 0;
    joined.clear();
    reader.begin_array();
    while (reader.next_element()) {
      if (++halves > 2) break;
      const size_t here = reader.place();
      const std::string_view half = reader.string();
      joined.append(half);
      ids[halves - 1] = id_of(half, here);
    }
    if (halves != 2)
      reader.at(place).refuse(concat("model.merges[", index, "] must hold two strings"));
    return joined;
  }

  std::string_view from_line() {
    const size_t place = reader.place();
    const std::string_view line = reader.string();
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      reader.at(place).refuse(concat("model.merges[", index, "] = '", line,
                                     "': two tokens with one space between are needed"));
    ids[0] = id_of(line.substr(0, space), place);
    ids[1] = id_of(line.substr(space + 1), place);
    joined.assign(line.substr(0, space)).append(line.substr(space + 1));
    return joined;
  }
};

std::vector<Merge> read_merges(const SectionFields& model, const Vocabulary& vocabulary) {
  JsonReader reader = model.at("merges");
  if (reader.peek() != JsonKind::array)
    model.refuse("merges", concat(" is ", describe(reader.peek()), "; an array is needed"));
  std::vector<Merge> merges;
  MergeReader merge{reader, vocabulary};
  reader.begin_array();
  for (; reader.next_element(); ++merge.index) {
    const size_t place = reader.place();
    const bool line = reader.peek() == JsonKind::string;
    const int32_t joined = merge.id_of(line ? merge.from_line() : merge.from_pair(), place);
    merges.push_back({merge.ids[0], merge.ids[1], joined});
  }
  return merges;
}

}  // namespace

void read_bpe_model(JsonReader section, TokenizerParts& parts, bool byte_level) {
  const SectionFields model(section, "model");
  if (model.has("type") && model.text("type") != "BPE")
    model.refuse("type", concat(" is '", model.text("type"), "'; BPE is supported"));
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!model.text(affix, "").empty())
      model.refuse(affix, concat(" is '", model.text(affix), "'; only the empty one is supported"));
  if (model.has("dropout") && !is_zero(model.at("dropout").number()))
    model.refuse("dropout", " makes ids random; null is supported");
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
