#include "data/tokenizer/sentencepiece_proto.h"

#include "core/error.h"
#include "data/tokenizer/limits.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

/// One message of protobuf's wire format, field by field.
class ProtoReader {
 public:
  ProtoReader(std::string_view bytes, const std::string& name, std::string_view message)
      : bytes_(bytes), name_(name), message_(message) {}

  /// Moves to the next field; its value is then in `number` or `text`.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t key = varint();
    field = key >> 3;
    wire_ = key & 7;
    number = 0;
    text = {};
    if (wire_ == 0)
      number = varint();
    else if (wire_ == 1)
      take(8);
    else if (wire_ == 2)
      text = take(varint());
    else if (wire_ == 5)
      take(4);
    else
      refuse(concat("wire type ", wire_, " is not known"));
    return true;
  }

  std::string_view bytes_value() const {
    if (wire_ != 2) refuse("should hold text or a message, and holds a number");
    return text;
  }
  uint64_t number_value() const {
    if (wire_ != 0) refuse("should hold a whole number, and does not");
    return number;
  }

  [[noreturn]] void refuse(std::string_view what) const {
    fail(ExitCode::refused_input, name_, ": byte ", at_, ": field ", field, " of ", message_, ": ",
         what);
  }

  uint64_t field = 0;
  uint64_t number = 0;
  std::string_view text;

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) refuse("the file ends inside a number");
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    refuse("a number longer than ten bytes");
  }
  std::string_view take(uint64_t length) {
    if (length > bytes_.size() - at_)
      refuse(concat("is ", length, " bytes long, but only ", bytes_.size() - at_, " are left"));
    const std::string_view taken = bytes_.substr(at_, length);
    at_ += length;
    return taken;
  }

  std::string_view bytes_;
  const std::string& name_;
  std::string_view message_;
  size_t at_ = 0;
  uint64_t wire_ = 0;
};

SentencePieceModel::Piece parse_piece(std::string_view bytes, const std::string& name, size_t id) {
  ProtoReader reader(bytes, name, "a piece");
  SentencePieceModel::Piece piece;
  while (reader.next()) {
    if (reader.field == 1) piece.text = reader.bytes_value();
    if (reader.field != 3) continue;
    const uint64_t type = reader.number_value();
    if (type < 1 || type > 6)
      reader.refuse(concat("type ", type, " of piece ", id, "; 1 to 6 are"));
    piece.type = static_cast<SentencePieceModel::Type>(type);
  }
  const std::string_view text = piece.text;
  if (text.empty() || text.size() > kTokenizerPieceBytes || utf8_valid_until(text) < text.size())
    fail(ExitCode::refused_input, name, ": piece ", id, ": ", text.size(), " bytes; 1 to ",
         kTokenizerPieceBytes, " bytes of UTF-8 are allowed");
  return piece;
}

void parse_normalizer(std::string_view bytes, const std::string& name, SentencePieceModel& model) {
  ProtoReader reader(bytes, name, "normalizer_spec");
  while (reader.next()) {
    if (reader.field == 1) model.normalization = reader.bytes_value();
    if (reader.field == 2) model.charsmap = reader.bytes_value();
    if (reader.field == 3) model.add_dummy_prefix = reader.number_value() != 0;
    if (reader.field == 4) model.remove_extra_whitespaces = reader.number_value() != 0;
    if (reader.field == 5) model.escape_whitespaces = reader.number_value() != 0;
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece(std::string_view file, const std::string& name) {
  SentencePieceModel model;
  ProtoReader reader(file, name, "the model");
  while (reader.next()) {
    if (reader.field == 1) {
      if (model.pieces.size() == kTokenizerTokens)
        reader.refuse(concat("more than ", kTokenizerTokens, " pieces"));
      model.pieces.push_back(parse_piece(reader.bytes_value(), name, model.pieces.size()));
    } else if (reader.field == 2) {
      ProtoReader spec(reader.bytes_value(), name, "trainer_spec");
      while (spec.next())
        if (spec.field == 3) model.model_type = spec.number_value();
    } else if (reader.field == 3) {
      parse_normalizer(reader.bytes_value(), name, model);
    }
  }
  if (model.pieces.empty())
    fail(ExitCode::refused_input, name, ": no pieces, so this is no SentencePiece model");
  return model;
}

}  // namespace isogrid
