#include "data/tokenizer/tokenize_lines.h"

#include <algorithm>
#include <charconv>
#include <exception>
#include <ostream>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/json_reader.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

constexpr size_t kChunkBytes = size_t{4} << 20;
constexpr size_t kLongestLine = size_t{64} << 20;

/// Hands out whole lines, as many as fit a chunk and at least one.
class LineChunks {
 public:
  LineChunks(const TokenizeLines::Source& read, const std::string& name)
      : read_(read), name_(name) {}

  /// The lines without their ends; empty at the end of the input. Valid until the next call.
  const std::vector<std::string_view>& next() {
    lines_.clear();
    buffer_.erase(0, taken_);
    taken_ = 0;
    size_t end = std::string::npos;
    while (end == std::string::npos && !ended_) {
      if (buffer_.size() > kLongestLine)
        fail(ExitCode::refused_input, name_, ":", line_number_, ": a line of more than ",
             kLongestLine >> 20, " MiB");
      const size_t had = buffer_.size();
      buffer_.resize(had + kChunkBytes);
      const size_t got = read_(buffer_.data() + had, kChunkBytes);
      buffer_.resize(had + got);
      ended_ = got == 0;
      end = buffer_.find_last_of('\n');
    }
    cut(ended_ ? buffer_.size() : end + 1);
    return lines_;
  }

  size_t first_number() const { return line_number_ - lines_.size(); }

 private:
  void cut(size_t end) {
    while (taken_ < end) {
      const size_t newline = std::min(buffer_.find('\n', taken_), end);
      size_t length = newline - taken_;
      if (length > 0 && buffer_[newline - 1] == '\r') --length;
      lines_.push_back(std::string_view(buffer_).substr(taken_, length));
      taken_ = std::min(newline + 1, end);
    }
    line_number_ += lines_.size();
  }

  const TokenizeLines::Source& read_;
  const std::string& name_;
  std::string buffer_;
  size_t taken_ = 0;
  bool ended_ = false;
  size_t line_number_ = 1;
  std::vector<std::string_view> lines_;
};

void append_escape(std::string& out, char32_t code) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out.append("\\u");
  for (int shift = 12; shift >= 0; shift -= 4) out.push_back(kHex[code >> shift & 15]);
}

void append_ids(std::string& out, const std::vector<int32_t>& ids) {
  out.push_back('[');
  char digits[16];
  for (const int32_t id : ids) {
    const auto end = std::to_chars(digits, digits + sizeof digits, id).ptr;
    out.append(digits, end);
    out.append(", ");
  }
  if (!ids.empty()) out.resize(out.size() - 2);
  out.append("]\n");
}

/// The work of one thread: a run of lines into its own output.
struct Share {
  std::string out = {};
  std::exception_ptr error = nullptr;
  EncodeScratch scratch = {};

  void run(const TokenizeLines& what, const Tokenizer& tokenizer,
           const std::vector<std::string_view>& lines, size_t first, size_t last,
           size_t first_number) {
    try {
      std::vector<int32_t> ids;
      out.clear();
      for (size_t i = first; i < last; ++i) {
        JsonReader reader(lines[i], what.name, JsonReader::kMaxDepth, first_number + i);
        ids.clear();
        if (what.decode) {
          read_ids(reader, ids);
          append_json_string(out, tokenizer.decode(ids));
          out.push_back('\n');
        } else {
          tokenizer.encode(reader.string(), scratch, ids);
          reader.finish();
          append_ids(out, ids);
        }
      }
    } catch (...) {
      error = std::current_exception();
    }
  }

  static void read_ids(JsonReader& reader, std::vector<int32_t>& ids) {
    reader.begin_array();
    while (reader.next_element()) {
      const uint64_t id = reader.natural("a token id");
      if (id > INT32_MAX) reader.refuse(id, " is not an id; they end at ", INT32_MAX);
      ids.push_back(static_cast<int32_t>(id));
    }
    reader.finish();
  }
};

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_char(text, at);
    // Controls, and what many programs end a line at: one JSON text stays one line.
    const bool escaped =
        c.code < 0x20 || c.code == 0x7F || c.code == 0x85 || c.code == 0x2028 || c.code == 0x2029;
    if (c.code == '"' || c.code == '\\') out.push_back('\\');
    if (c.code == '\n')
      out.append("\\n");
    else if (escaped)
      append_escape(out, c.code);
    else
      out.append(text, at, c.bytes);
    at += c.bytes;
  }
  out.push_back('"');
}

void TokenizeLines::run(const Tokenizer& tokenizer, const Source& read, std::ostream& out) const {
  LineChunks chunks(read, name);
  std::vector<Share> shares(std::max(1u, threads));
  while (true) {
    const std::vector<std::string_view>& lines = chunks.next();
    if (lines.empty()) break;
    const auto run_share = [&](size_t k) {
      shares[k].run(*this, tokenizer, lines, lines.size() * k / shares.size(),
                    lines.size() * (k + 1) / shares.size(), chunks.first_number());
    };
    {
      std::vector<std::jthread> workers;
      for (size_t k = 1; k < shares.size(); ++k) workers.emplace_back(run_share, k);
      run_share(0);
    }
    for (Share& share : shares) {
      if (share.error) std::rethrow_exception(share.error);
      out.write(share.out.data(), static_cast<std::streamsize>(share.out.size()));
    }
    out.flush();
    if (!out) fail(ExitCode::io, "the output cannot be written");
  }
}

}  // namespace isogrid
