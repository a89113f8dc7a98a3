#include "data/tokenizer/tokenizer_json.h"

#include "core/log.h"
#include "data/tokenizer/limits.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {

std::shared_ptr<TokenizerParts> read_tokenizer_json(std::string_view json,
                                                    const std::string& name) {
  if (json.size() > kTokenizerFileBytes)
    fail(ExitCode::refused_input, name, ": ", json.size(), " bytes; at most ",
         kTokenizerFileBytes >> 20, " MiB are read");
  JsonReader reader(json, name);
  if (const size_t broken = utf8_valid_until(json); broken < json.size())
    reader.fail_at(broken, "these bytes are not UTF-8");
  const JsonFields fields(reader, "");
  JsonReader whole = reader;
  whole.skip();
  whole.finish();

  if (fields.has("version") && fields.text("version") != "1.0")
    fields.fail("version", concat(" is '", fields.text("version"), "'; 1.0 is supported"));
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
  if (section.type() != JsonReader::Type::array)
    section.fail_here(concat("added_tokens is ", json_type_name(section.type()),
                             "; an array of objects is needed"));
  section.enter_array();
  for (size_t i = 0; section.next_item(); ++i) {
    const JsonFields fields(section, concat("added_tokens[", i, "]"));
    const AddedToken token{.content = fields.text("content"),
                           .single_word = fields.flag("single_word", false),
                           .lstrip = fields.flag("lstrip", false),
                           .rstrip = fields.flag("rstrip", false),
                           .normalized = fields.flag("normalized", true),
                           .special = fields.flag("special", false)};
    if (token.content.size() > kTokenizerPieceBytes)
      fields.fail("content", concat(" has ", token.content.size(), " bytes; at most ",
                                    kTokenizerPieceBytes, " are allowed"));
    const int64_t wanted = fields.integer("id");
    const size_t tokens = parts.model.vocabulary().count() + i + 1;
    if (tokens > kTokenizerTokens)
      fields.fail("content", concat(": more than ", kTokenizerTokens, " tokens"));
    if (!tokenizer_id_is_dense(wanted, tokens))
      fields.fail("id", concat(" is ", wanted, ", but the file has ", tokens, " tokens so far"));
    const int32_t id = parts.add(token);
    if (id < 0)
      fields.fail("content", concat(" '", token.content,
                                    "' is not in model.vocab, and the next free id is taken: the "
                                    "ids of model.vocab have gaps"));
    if (id != wanted && !token.content.empty())
      log_warning(concat("added_tokens[", i, "]: '", token.content, "' has the id ", id,
                         ", not ", wanted, " as written, as in Hugging Face tokenizers"));
    section.skip();
  }
}

}  // namespace isogrid
