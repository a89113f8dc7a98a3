#include "data/example_file.h"

#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/error.h"

namespace isogrid {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is read in place");

constexpr std::array<char, 8> kRowsMagic{'i', 's', 'o', 'r', 'o', 'w', 's', '\n'};
constexpr uint64_t kRowsVersion = 1;
constexpr uint64_t kLineBits = 44;

/// The last bytes of the file. Before them: words, zeros up to a multiple of eight, ends, places,
/// counts as JSON.
struct Trailer {
  std::array<char, 8> magic = kRowsMagic;
  uint64_t version = kRowsVersion;
  uint64_t tokens = 0;
  uint64_t examples = 0;
  uint64_t notes_bytes = 0;
  Sha256Digest key{};
  Sha256Digest content{};  // words, zeros, ends
  Sha256Digest notes{};    // places, counts
};
static_assert(sizeof(Trailer) == 136);

constexpr uint64_t padded(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }

/// False also where the sum would not fit 64 bits.
bool sizes_match(const Trailer& trailer, uint64_t file_bytes) {
  constexpr uint64_t kMost = uint64_t{1} << 56;
  if (trailer.tokens > kMost || trailer.examples > kMost || trailer.notes_bytes > kMost)
    return false;
  return padded(4 * trailer.tokens) + 16 * trailer.examples + trailer.notes_bytes +
             sizeof(Trailer) ==
         file_bytes;
}

bool ends_are_in_order(std::span<const uint64_t> ends, uint64_t tokens) {
  uint64_t last = 0;
  for (const uint64_t end : ends) {
    if (end <= last || end - last > UINT32_MAX) return false;
    last = end;
  }
  return last == tokens;
}

}  // namespace

std::shared_ptr<const ExampleFile> ExampleFile::open(const std::string& path,
                                                     const Sha256Digest& key,
                                                     std::vector<std::string> file_names,
                                                     std::string& why) {
  why.clear();
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return nullptr;
  const std::shared_ptr<ExampleFile> file(new ExampleFile(path));
  why = file->read(key);
  file->file_names_ = std::move(file_names);
  return why.empty() ? file : nullptr;
}

std::string ExampleFile::read(const Sha256Digest& key) {
  const ByteSpan bytes = mapped_.bytes();
  Trailer trailer;
  if (bytes.size() < sizeof trailer) return "it is cut short";
  std::memcpy(&trailer, bytes.last(sizeof trailer).data(), sizeof trailer);
  if (trailer.magic != kRowsMagic || trailer.version != kRowsVersion)
    return "it is of another kind or version, or cut short";
  if (trailer.key != key) return "it was made from something else";
  if (!sizes_match(trailer, bytes.size())) return "its parts do not add up to its size";
  const uint64_t ends_at = padded(4 * trailer.tokens);
  const uint64_t places_at = ends_at + 8 * trailer.examples;
  const uint64_t notes_at = places_at + 8 * trailer.examples;
  if (sha256(bytes.first(places_at)) != trailer.content ||
      sha256(bytes.subspan(places_at, notes_at + trailer.notes_bytes - places_at)) != trailer.notes)
    return "its bytes have changed since it was written";
  // A mapping begins at a page, so all of these are aligned.
  words_ = {reinterpret_cast<const uint32_t*>(bytes.data()), trailer.tokens};
  ends_ = {reinterpret_cast<const uint64_t*>(bytes.data() + ends_at), trailer.examples};
  places_ = {reinterpret_cast<const uint64_t*>(bytes.data() + places_at), trailer.examples};
  if (!ends_are_in_order(ends_, trailer.tokens)) return "its examples overlap";
  counts_ = counts_from_json(as_text(bytes.subspan(notes_at, trailer.notes_bytes)), mapped_.name(),
                             closing_id_);
  content_hash_ = trailer.content;
  return "";
}

std::span<const uint32_t> ExampleFile::words(int64_t example) const {
  const auto i = static_cast<size_t>(example);
  const uint64_t begin = i == 0 ? 0 : ends_[i - 1];
  return words_.subspan(begin, ends_[i] - begin);
}

RecordPlace ExampleFile::place(int64_t example) const {
  const uint64_t packed = places_[static_cast<size_t>(example)];
  return {.file = static_cast<uint32_t>(packed >> kLineBits),
          .line = packed & ((uint64_t{1} << kLineBits) - 1)};
}

void ExampleWriter::append(ByteSpan bytes) {
  hash_.update(bytes);
  file_.append(bytes);
}

void ExampleWriter::add(std::span<const uint32_t> words, const RecordPlace& place) {
  append(std::as_bytes(words));
  tokens_ += words.size();
  ends_.push_back(tokens_);
  places_.push_back(uint64_t{place.file} << kLineBits | place.line);
}

void ExampleWriter::finish(const Sha256Digest& key, int32_t closing_id,
                           const EncodeCounts& counts) {
  Trailer trailer{.tokens = tokens_, .examples = ends_.size(), .key = key};
  const std::array<std::byte, 8> zeros{};
  append(std::span(zeros).first(padded(4 * tokens_) - 4 * tokens_));
  append(std::as_bytes(std::span(ends_)));
  trailer.content = std::exchange(hash_, Sha256()).finish();
  const std::string notes = counts_to_json(counts, closing_id);
  trailer.notes_bytes = notes.size();
  append(std::as_bytes(std::span(places_)));
  append(as_bytes(notes));
  trailer.notes = hash_.finish();
  file_.append(std::as_bytes(std::span(&trailer, 1)));
}

}  // namespace isogrid
