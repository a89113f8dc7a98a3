#include "data/tokenizer/decoder.h"

#include <charconv>
#include <optional>

#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/limits.h"
#include "data/tokenizer/pre_tokenizer.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// "<0xE2>" names a byte; so does "<0x+7>" to the parser of numbers that Hugging Face uses.
std::optional<uint8_t> named_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const char* first = token.data() + 3;
  if (*first == '+') ++first;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(first, token.data() + 5, byte, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return byte;
}

}  // namespace

void TokenDecoder::reset() {
  started_ = false;
  strip_left_ = steps_->strip_most;
  pending_.clear();
}

void TokenDecoder::push(std::string_view token, std::string& out) {
  switch (steps_->kind) {
    case DecoderSteps::Kind::spaced:
      if (started_) out.push_back(' ');
      out.append(token);
      break;
    case DecoderSteps::Kind::byte_level: {
      const std::optional<std::string> bytes = from_byte_alphabet(token);
      pending_.append(bytes ? *bytes : token);
      const size_t whole = pending_.size() - utf8_incomplete_tail(pending_);
      append_utf8_lossy(out, std::string_view(pending_).substr(0, whole));
      pending_.erase(0, whole);
      break;
    }
    case DecoderSteps::Kind::pieces:
      push_piece(token, out);
      break;
  }
  started_ = true;
}

void TokenDecoder::push_piece(std::string_view token, std::string& out) {
  std::string text(token);
  if (!started_ && !steps_->first_token_drops.empty()) {
    buffer_.clear();
    replace_all(text, steps_->first_token_drops, "", kTokenizerGrown, buffer_);
    text.swap(buffer_);
  }
  for (const auto& [from, to] : steps_->replacements) {
    buffer_.clear();
    replace_all(text, from, to, kTokenizerGrown, buffer_);
    text.swap(buffer_);
  }
  if (const auto byte = steps_->byte_fallback ? named_byte(text) : std::nullopt) {
    pending_.push_back(static_cast<char>(*byte));
    return;
  }
  flush_bytes(out);
  put(text, out);
}

// A run of byte tokens is right as a whole or not at all, so none of it is certain before its end.
void TokenDecoder::flush_bytes(std::string& out) {
  if (utf8_valid_until(pending_) == pending_.size()) {
    put(pending_, out);
  } else {
    for (size_t i = 0; i < pending_.size(); ++i) put(kReplacement, out);
  }
  pending_.clear();
}

void TokenDecoder::put(std::string_view text, std::string& out) {
  while (strip_left_ > 0 && !text.empty()) {
    if (!text.starts_with(steps_->strip)) {
      strip_left_ = 0;
      break;
    }
    text.remove_prefix(steps_->strip.size());
    --strip_left_;
  }
  out.append(text);
}

void TokenDecoder::finish(std::string& out) {
  if (steps_->kind == DecoderSteps::Kind::byte_level)
    append_utf8_lossy(out, pending_);
  else
    flush_bytes(out);
  reset();
}

}  // namespace isogrid
