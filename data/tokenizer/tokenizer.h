#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

struct TokenizerParts;
class EncodeScratch;

/// Text to token ids and back, with the ids of Hugging Face tokenizers for the same file.
/// A copy shares the vocabulary. Every const member may be called from several threads at once.
class Tokenizer {
 public:
  /// Reads `folder`/tokenizer.json, else the keys of the GGUF file that `folder` is or holds, else
  /// the SentencePiece model `folder`/tokenizer.model.
  /// Error 66 when neither is there, 65 for a malformed, hostile or unsupported file.
  static Tokenizer load(const std::filesystem::path& folder);
  /// The bytes of a tokenizer.json; `name` stands for the file in messages.
  static Tokenizer from_json(std::span<const char> json, const std::string& name);

  /// From parts that a reader of one format put together (data/tokenizer/parts.h).
  explicit Tokenizer(std::shared_ptr<const TokenizerParts> parts);

  /// Added tokens standing in the text become their ids; nothing is added. Invalid UTF-8 in the
  /// text counts as U+FFFD, a maximal broken part at a time.
  std::vector<int32_t> encode(std::string_view text) const;
  /// Appends to `ids` and keeps buffers and the word cache in `scratch`: for loops over many texts,
  /// one scratch per thread.
  void encode(std::string_view text, EncodeScratch& scratch, std::vector<int32_t>& ids) const;
  /// The ids framed as the file's post-processor does (BOS, EOS).
  std::vector<int32_t> add_specials(std::vector<int32_t> ids) const;
  std::vector<int32_t> encode_with_specials(std::string_view text) const;

  /// Unknown ids are skipped. Bytes that are not UTF-8 come out as U+FFFD.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  std::optional<int32_t> id_of(std::string_view token) const;
  /// The token as the file spells it (byte-level tokens in their printable alphabet);
  /// empty for an id that is not taken.
  std::string_view token_of(int32_t id) const;
  /// True for added tokens with `special: true`.
  bool is_special(int32_t id) const;
  bool is_added(int32_t id) const;
  /// One more than the largest id.
  int64_t size() const;

 private:
  friend class StreamDecoder;

  std::shared_ptr<const TokenizerParts> parts_;
};

/// Buffers and a bounded cache of words for one thread. It may be used with several tokenizers;
/// the cache starts anew when the tokenizer changes.
class EncodeScratch {
 public:
  EncodeScratch();
  ~EncodeScratch();
  EncodeScratch(EncodeScratch&&) noexcept;
  EncodeScratch& operator=(EncodeScratch&&) noexcept;

 private:
  friend class Tokenizer;
  struct Buffers;
  std::unique_ptr<Buffers> buffers_;
};

}  // namespace isogrid
