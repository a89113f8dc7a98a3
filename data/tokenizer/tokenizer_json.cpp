#include "data/tokenizer/tokenizer_json.h"

#include "core/log.h"
#include "data/tokenizer/limits.h"

namespace isogrid {

std::shared_ptr<TokenizerParts> read_tokenizer_json(std::string_view json,
                                                    const std::string& name) {
  if (json.size() > kTokenizerFileBytes)
    fail(ExitCode::refused_input, name, ": ", json.size(), " bytes; at most ",
         kTokenizerFileBytes >> 20, " MiB are read");
  const SectionFields fields(JsonReader(json, name), "");
  fields.finish();

  if (fields.has("version") && fields.text("version") != "1.0")
    fields.refuse("version", concat(" is '", fields.text("version"), "'; 1.0 is supported"));
  auto parts = std::make_shared<TokenizerParts>();
  const bool bytes =
      fields.has("pre_tokenizer") && read_pre_tokenizer(fields.at("pre_tokenizer"), *parts);
  if (fields.has("normalizer")) read_normalizer(fields.at("normalizer"), *parts);
  read_bpe_model(fields.at("model"), *parts, bytes);
  if (fields.has("added_tokens")) read_added_tokens(fields.at("added_tokens"), *parts);
  if (fields.has("post_processor")) read_post_processor(fields.at("post_processor"), *parts);
  if (fields.has("decoder")) read_decoder(fields.at("decoder"), *parts);
  parts->finish();
  return parts;
}

void read_added_tokens(JsonReader section, TokenizerParts& parts) {
  if (section.peek() != JsonKind::array)
    section.refuse(
        concat("added_tokens is ", describe(section.peek()), "; an array of objects is needed"));
  section.begin_array();
  for (size_t i = 0; section.next_element(); ++i) {
    const SectionFields fields(section, concat("added_tokens[", i, "]"));
    const AddedToken token{.content = fields.text("content"),
                           .single_word = fields.flag("single_word", false),
                           .lstrip = fields.flag("lstrip", false),
                           .rstrip = fields.flag("rstrip", false),
                           .normalized = fields.flag("normalized", true),
                           .special = fields.flag("special", false)};
    if (token.content.size() > kTokenizerPieceBytes)
      fields.refuse("content", concat(" has ", token.content.size(), " bytes; at most ",
                                      kTokenizerPieceBytes, " are allowed"));
    const uint64_t wanted = fields.natural("id");
    const size_t tokens = parts.model.vocabulary().count() + i + 1;
    if (tokens > kTokenizerTokens)
      fields.refuse("content", concat(": more than ", kTokenizerTokens, " tokens"));
    if (!tokenizer_id_is_dense(wanted, tokens))
      fields.refuse("id", concat(" is ", wanted, ", but the file has ", tokens, " tokens so far"));
    const int32_t id = parts.add(token);
    if (id < 0)
      fields.refuse("content", concat(" '", token.content,
                                      "' is not in model.vocab, and the next free id is taken: the "
                                      "ids of model.vocab have gaps"));
    if (static_cast<uint64_t>(id) != wanted && !token.content.empty())
      log_warning(concat("added_tokens[", i, "]: '", token.content, "' has the id ", id, ", not ",
                         wanted, " as written, as in Hugging Face tokenizers"));
    section.skip();
  }
}

}  // namespace isogrid
