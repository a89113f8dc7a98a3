#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace isogrid {

/// How tokens become text, as the `decoder` of a tokenizer.json says.
struct DecoderSteps {
  enum class Kind : uint8_t {
    spaced,      // no decoder: tokens with a space between
    byte_level,  // tokens spell bytes in the printable alphabet
    pieces       // the members below, in their order
  };
  Kind kind = Kind::spaced;
  std::vector<std::pair<std::string, std::string>> replacements;
  std::string first_token_drops;  // from the first token only, before the replacements
  bool byte_fallback = false;     // <0x..> tokens are bytes
  std::string strip;              // this character is taken from the start of the text ...
  uint32_t strip_most = 0;        // ... at most so many times
};

/// Takes tokens one by one and gives text of whole characters.
class TokenDecoder {
 public:
  explicit TokenDecoder(const DecoderSteps& steps) : steps_(&steps) { reset(); }

  /// Appends what is certain after this token.
  void push(std::string_view token, std::string& out);
  /// Appends the rest, bytes that never became a character as U+FFFD, and starts anew.
  void finish(std::string& out);

 private:
  void reset();
  void push_piece(std::string_view token, std::string& out);
  void flush_bytes(std::string& out);
  void put(std::string_view text, std::string& out);

  const DecoderSteps* steps_;
  bool started_;
  uint32_t strip_left_;
  std::string pending_;  // bytes whose characters are still open
  std::string buffer_;
};

}  // namespace isogrid
