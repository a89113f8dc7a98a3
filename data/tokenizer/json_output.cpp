#include <algorithm>

#include "data/tokenizer/limits.h"
#include "data/tokenizer/tokenizer_json.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

int32_t checked_id(const SectionFields& fields, std::string_view key, uint64_t id) {
  if (id >= 2 * kTokenizerTokens)
    fields.refuse(key, concat(": the id ", id, " is not one of the vocabulary"));
  return static_cast<int32_t>(id);
}

// The ids that a TemplateProcessing puts for one of its special tokens.
std::vector<int32_t> template_ids(const SectionFields& step, const std::string& token) {
  const SectionFields specials(step.at("special_tokens"), step.path() + ".special_tokens");
  const SectionFields special(specials.at(token), specials.path() + "." + token);
  JsonReader list = special.at("ids");
  std::vector<int32_t> ids;
  list.begin_array();
  while (list.next_element()) ids.push_back(checked_id(special, "ids", list.natural("ids")));
  return ids;
}

void add_template(const SectionFields& step, TokenizerParts& parts) {
  std::vector<int32_t> before, behind;
  bool text_seen = false;
  JsonReader pieces = step.at("single");
  if (pieces.peek() != JsonKind::array) step.refuse("single", " must be an array");
  pieces.begin_array();
  for (size_t i = 0; pieces.next_element(); ++i) {
    const SectionFields piece(pieces, concat(step.path(), ".single[", i, "]"));
    pieces.skip();
    if (piece.has("SpecialToken")) {
      const SectionFields special(piece.at("SpecialToken"), piece.path() + ".SpecialToken");
      const std::vector<int32_t> ids = template_ids(step, special.text("id"));
      std::vector<int32_t>& side = text_seen ? behind : before;
      side.insert(side.end(), ids.begin(), ids.end());
    } else if (text_seen || !piece.has("Sequence")) {
      step.refuse("single", " must be special tokens around one Sequence");
    } else {
      text_seen = true;
    }
  }
  if (!text_seen) step.refuse("single", " has no Sequence, so the text would be lost");
  parts.framed_before.insert(parts.framed_before.begin(), before.begin(), before.end());
  parts.framed_behind.insert(parts.framed_behind.end(), behind.begin(), behind.end());
}

// ["</s>", 2] of BertProcessing and RobertaProcessing.
int32_t token_and_id(const SectionFields& step, std::string_view key) {
  JsonReader pair = step.at(key);
  pair.begin_array();
  uint64_t id = UINT64_MAX;
  if (pair.next_element()) pair.skip();
  if (pair.next_element()) id = pair.natural(key);
  if (pair.next_element()) step.refuse(key, " must be a token and its id");
  return checked_id(step, key, id);
}

void add_replacement(const SectionFields& step, TokenizerParts& parts) {
  const SectionFields pattern(step.at("pattern"), step.path() + ".pattern");
  if (!pattern.has("String"))
    step.refuse("pattern", ": regular expressions are not supported, only {\"String\": ...} is");
  std::string from = pattern.text("String");
  if (from.empty()) step.refuse("pattern", " is empty");
  if (step.text("content").size() > kTokenizerAffixBytes)
    step.refuse("content", concat(": at most ", kTokenizerAffixBytes, " bytes are allowed"));
  parts.decoder.replacements.emplace_back(std::move(from), step.text("content"));
}

void add_metaspace_decoder(const SectionFields& step, TokenizerParts& parts) {
  const std::string mark = step.text("replacement");
  if (mark.empty() || utf8_char(mark, 0).bytes != mark.size())
    step.refuse("replacement", concat(" is '", mark, "'; one character is needed"));
  const bool never =
      step.text("prepend_scheme", "always") == "never" || !step.flag("add_prefix_space", true);
  if (!never) parts.decoder.first_token_drops = mark;
  parts.decoder.replacements.emplace_back(mark, " ");
}

void add_strip(const SectionFields& step, bool fused, TokenizerParts& parts) {
  const uint64_t start = step.natural("start");
  if (!fused || step.natural("stop") != 0 || start > UINT32_MAX)
    step.refuse("type", ": Strip is supported behind Fuse, at the start of the text only");
  parts.decoder.strip = step.text("content");
  parts.decoder.strip_most = static_cast<uint32_t>(start);
  if (parts.decoder.strip.empty()) step.refuse("content", " is empty");
}

}  // namespace

void read_post_processor(JsonReader section, TokenizerParts& parts) {
  for (const SectionFields& step : read_steps(section, "post_processor", "processors")) {
    const std::string type = step.text("type");
    if (type == "TemplateProcessing") {
      add_template(step, parts);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      parts.framed_before.insert(parts.framed_before.begin(), token_and_id(step, "cls"));
      parts.framed_behind.push_back(token_and_id(step, "sep"));
    } else if (type != "ByteLevel") {
      step.refuse("type", concat(" is '", type,
                                 "'; TemplateProcessing, BertProcessing, "
                                 "RobertaProcessing, ByteLevel and Sequence are supported"));
    }
  }
}

void read_decoder(JsonReader section, TokenizerParts& parts) {
  const std::vector<SectionFields> steps = read_steps(section, "decoder", "decoders");
  parts.decoder.kind = DecoderSteps::Kind::pieces;
  bool fused = false;
  for (const SectionFields& step : steps) {
    const std::string type = step.text("type");
    // What was fused is one text; only Strip is defined here for one.
    const bool single_tokens = !fused && !parts.decoder.byte_fallback;
    if (type == "ByteLevel" && steps.size() == 1) {
      parts.decoder.kind = DecoderSteps::Kind::byte_level;
    } else if (type == "Replace" && single_tokens) {
      add_replacement(step, parts);
    } else if (type == "Metaspace" && single_tokens && parts.decoder.replacements.empty()) {
      add_metaspace_decoder(step, parts);
    } else if (type == "ByteFallback" && single_tokens) {
      parts.decoder.byte_fallback = true;
    } else if (type == "Fuse") {
      fused = true;
    } else if (type == "Strip" && parts.decoder.strip.empty()) {
      add_strip(step, fused, parts);
    } else {
      step.refuse("type", concat(" is '", type,
                                 "' at this place; supported are ByteLevel alone, or "
                                 "Metaspace, Replace, ByteFallback, Fuse, Strip in this order"));
    }
  }
}

}  // namespace isogrid
