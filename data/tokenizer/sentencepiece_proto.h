#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

/// What a SentencePiece model file says, read straight from its protobuf bytes.
struct SentencePieceModel {
  enum class Type : uint8_t { normal = 1, unknown, control, user_defined, unused, byte };
  struct Piece {
    std::string_view text;  // of the file's bytes
    Type type = Type::normal;
  };
  static constexpr uint64_t kBpe = 2;

  std::vector<Piece> pieces;  // the id is the place
  uint64_t model_type = 1;    // the format's default: unigram
  std::string_view normalization;
  std::string_view charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Every length is checked against the bytes present; Error 65 names the field. `file` must outlive
/// the result.
SentencePieceModel parse_sentencepiece(std::string_view file, const std::string& name);

}  // namespace isogrid
