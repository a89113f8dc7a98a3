#include "data/tokenizer/tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "core/gguf_folder.h"
#include "data/tokenizer/file_bytes.h"
#include "data/tokenizer/limits.h"
#include "data/tokenizer/parts.h"
#include "data/tokenizer/sentencepiece.h"
#include "data/tokenizer/stream_decoder.h"
#include "data/tokenizer/tokenizer_json.h"
#include "data/tokenizer/utf8.h"
#include "data/tokenizer/word_cache.h"

namespace isogrid {

struct EncodeScratch::Buffers {
  std::string repaired;  // the text when it was not UTF-8
  std::string normal[2];
  std::vector<std::string> pieces;  // one per pre-tokeniser step
  std::vector<AddedMatch> raw, normalized;
  BpeScratch bpe;
  WordCache words;
};

EncodeScratch::EncodeScratch() : buffers_(std::make_unique<Buffers>()) {}
EncodeScratch::~EncodeScratch() = default;
EncodeScratch::EncodeScratch(EncodeScratch&&) noexcept = default;
EncodeScratch& EncodeScratch::operator=(EncodeScratch&&) noexcept = default;

namespace {

std::string_view view_of(std::span<const char> bytes) { return {bytes.data(), bytes.size()}; }

void encode_word(const BpeModel& model, std::string_view word, BpeScratch& bpe, WordCache& words,
                 std::vector<int32_t>& ids) {
  if (word.size() > WordCache::kLongestWord) return model.encode(word, bpe, ids);
  WordCache::Slot& slot = words.slot(word);
  if (slot.holds(word)) {
    ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
    return;
  }
  const size_t before = ids.size();
  model.encode(word, bpe, ids);
  slot.store(word, ids.data() + before, ids.size() - before);
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  const std::filesystem::path json = folder / "tokenizer.json";
  if (std::filesystem::exists(json)) {
    const FileBytes bytes(json, kTokenizerFileBytes);
    return from_json(bytes.bytes(), json.string());
  }
  if (std::filesystem::exists(folder)) {
    if (const auto files = open_model_directory(folder.string()); files->gguf()) {
      const std::string text = files->read("tokenizer.json", kTokenizerFileBytes);
      return from_json({text.data(), text.size()}, files->shown("tokenizer.json"));
    }
  }
  const std::filesystem::path pieces = folder / "tokenizer.model";
  if (std::filesystem::exists(pieces)) return Tokenizer(read_sentencepiece_folder(folder));
  fail(ExitCode::missing_input, folder.string(),
       ": neither tokenizer.json nor tokenizer.model is in this folder");
}

Tokenizer Tokenizer::from_json(std::span<const char> json, const std::string& name) {
  return Tokenizer(read_tokenizer_json(view_of(json), name));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  EncodeScratch scratch = [this] {
    const std::lock_guard lock(parts_->idle_mutex);
    if (parts_->idle.empty()) return EncodeScratch();
    EncodeScratch idle = std::move(parts_->idle.back());
    parts_->idle.pop_back();
    return idle;
  }();
  std::vector<int32_t> ids;
  encode(text, scratch, ids);
  const std::lock_guard lock(parts_->idle_mutex);
  parts_->idle.push_back(std::move(scratch));
  return ids;
}

void Tokenizer::encode(std::string_view text, EncodeScratch& scratch,
                       std::vector<int32_t>& ids) const {
  const TokenizerParts& parts = *parts_;
  EncodeScratch::Buffers& s = *scratch.buffers_;
  s.words.belong_to(parts.serial);
  s.pieces.resize(parts.pre_tokenizer.size());
  if (utf8_valid_until(text) < text.size()) {
    s.repaired.clear();
    append_utf8_lossy(s.repaired, text);
    text = s.repaired;
  }
  const auto encode_piece = [&](std::string_view word) {
    encode_word(parts.model, word, s.bpe, s.words, ids);
  };
  s.raw.clear();
  parts.raw_finder.find(text, s.raw);
  for (const AddedMatch& raw : s.raw) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    const std::string_view normal =
        normalise(parts.normalizer, text.substr(raw.start, raw.end - raw.start), s.normal);
    s.normalized.clear();
    parts.normalized_finder.find(normal, s.normalized);
    for (const AddedMatch& match : s.normalized) {
      if (match.id >= 0) {
        ids.push_back(match.id);
        continue;
      }
      const Piece piece{normal.substr(match.start, match.end - match.start),
                        raw.start == 0 && match.start == 0};
      pre_tokenize(parts.pre_tokenizer, 0, piece, s.pieces, encode_piece);
    }
  }
}

std::vector<int32_t> Tokenizer::add_specials(std::vector<int32_t> ids) const {
  ids.insert(ids.begin(), parts_->framed_before.begin(), parts_->framed_before.end());
  ids.insert(ids.end(), parts_->framed_behind.begin(), parts_->framed_behind.end());
  return ids;
}

std::vector<int32_t> Tokenizer::encode_with_specials(std::string_view text) const {
  return add_specials(encode(text));
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string text;
  StreamDecoder decoder(*this, skip_special);
  for (const int32_t id : ids) decoder.push(id, text);
  decoder.finish(text);
  return text;
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  const auto added = parts_->added_ids.find(std::string(token));
  if (added != parts_->added_ids.end()) return added->second;
  const int32_t id = parts_->model.vocabulary().find(token);
  return id == Vocabulary::kNone ? std::nullopt : std::optional(id);
}

std::string_view Tokenizer::token_of(int32_t id) const {
  const auto added = parts_->added.find(id);
  return added != parts_->added.end() ? added->second.content
                                      : parts_->model.vocabulary().token(id);
}

bool Tokenizer::is_added(int32_t id) const { return parts_->added.contains(id); }

bool Tokenizer::is_special(int32_t id) const {
  const auto added = parts_->added.find(id);
  return added != parts_->added.end() && added->second.special;
}

int64_t Tokenizer::size() const {
  const auto model = static_cast<int64_t>(parts_->model.vocabulary().size());
  return parts_->added.empty() ? model
                               : std::max<int64_t>(model, parts_->added.rbegin()->first + 1);
}

StreamDecoder::StreamDecoder(Tokenizer tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)),
      decoder_(tokenizer_.parts_->decoder),
      skip_special_(skip_special) {}

void StreamDecoder::push(int32_t id, std::string& out) {
  const TokenizerParts& parts = *tokenizer_.parts_;
  if (const auto added = parts.added.find(id); added != parts.added.end()) {
    if (skip_special_ && added->second.special) return;
    const auto other = parts.decoded_as.find(id);
    decoder_.push(other == parts.decoded_as.end() ? added->second.content : other->second, out);
    return;
  }
  const std::string_view token = parts.model.vocabulary().token(id);
  if (!token.empty()) decoder_.push(token, out);
}

std::string StreamDecoder::push(int32_t id) {
  std::string text;
  push(id, text);
  return text;
}

void StreamDecoder::finish(std::string& out) { decoder_.finish(out); }

std::string StreamDecoder::finish() {
  std::string text;
  finish(text);
  return text;
}

}  // namespace isogrid
