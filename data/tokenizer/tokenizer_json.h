#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/json_reader.h"
#include "data/tokenizer/parts.h"

namespace isogrid {

/// Reads a tokenizer.json; Error 65 names the field that is malformed or not supported.
std::shared_ptr<TokenizerParts> read_tokenizer_json(std::string_view json, const std::string& name);

// The sections, one function each. The reader stands at the section's value.
/// `byte_level`: the pieces are bytes, so the vocabulary spells bytes.
void read_bpe_model(JsonReader section, TokenizerParts& parts, bool byte_level);
void read_normalizer(JsonReader section, TokenizerParts& parts);
/// Returns whether the pieces come out as bytes (a ByteLevel at the end).
bool read_pre_tokenizer(JsonReader section, TokenizerParts& parts);
void read_post_processor(JsonReader section, TokenizerParts& parts);
void read_decoder(JsonReader section, TokenizerParts& parts);
void read_added_tokens(JsonReader section, TokenizerParts& parts);

/// The places of an object's values by key; duplicate keys are refused.
class SectionFields {
 public:
  SectionFields(JsonReader object, std::string path);

  bool has(std::string_view key) const;  // there, and not null
  JsonReader at(std::string_view key) const;
  std::string text(std::string_view key) const;
  std::string text(std::string_view key, std::string fallback) const;
  bool flag(std::string_view key, bool fallback) const;
  uint64_t natural(std::string_view key) const;
  /// Nothing but white space may follow the object.
  void finish() const;
  const std::string& path() const { return path_; }
  /// Error 65 at the key's value, or at the object when the key is missing.
  [[noreturn]] void refuse(std::string_view key, std::string_view what) const;

 private:
  const size_t* find(std::string_view key) const;

  JsonReader object_;
  size_t place_;
  size_t end_ = 0;
  std::string path_;
  std::map<std::string, size_t, std::less<>> places_;
};

/// Steps of a section in order: the members of nested Sequences, or the one that stands alone.
std::vector<SectionFields> read_steps(JsonReader section, const std::string& path,
                                      std::string_view list_key);

}  // namespace isogrid
