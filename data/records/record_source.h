#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/records/record.h"

namespace isogrid {

/// What a stranger's record may ask for.
inline constexpr uint64_t kLongestRecord = uint64_t{64} << 20;
inline constexpr int kDeepestRecord = 64;

/// The bytes of one record and the line they begin at.
struct RawRecord {
  std::string_view text;
  uint64_t line = 0;
};

enum class FileType { json, csv, text };

/// Cuts a file into records without building anything, front to back, in one pass; several threads
/// may read() what it cut meanwhile.
class RecordSource {
 public:
  virtual ~RecordSource() = default;
  /// False at the end. A file whose records cannot be told apart is refused (65).
  virtual bool next(RawRecord& raw) = 0;
  /// Bytes behind the last record handed out.
  virtual uint64_t consumed() const = 0;
  /// Fills the columns `record` asks for. A malformed record is refused (65).
  virtual void read(const RawRecord& raw, Record& record) const = 0;
  /// The columns of a record, as many as are worth knowing.
  virtual std::vector<std::string> columns(const RawRecord& raw) const = 0;
};

/// `bytes` must outlive the source; `name` stands for the file in messages.
std::unique_ptr<RecordSource> open_records(FileType type, std::string_view bytes, std::string name);
std::unique_ptr<RecordSource> open_json_records(std::string_view bytes, std::string name);
std::unique_ptr<RecordSource> open_csv_records(std::string_view bytes, std::string name);
std::unique_ptr<RecordSource> open_text_records(std::string_view bytes, std::string name);

/// The name of the one column of a text file.
inline constexpr std::string_view kTextColumn = "text";

/// Lines of a text, without their ends, numbered from 1.
class LineCutter {
 public:
  explicit LineCutter(std::string_view bytes) : bytes_(bytes) {}
  bool next(RawRecord& line);
  uint64_t consumed() const { return position_; }

 private:
  std::string_view bytes_;
  size_t position_ = 0;
  uint64_t line_ = 0;
};

std::string_view without_byte_order_mark(std::string_view bytes);

}  // namespace isogrid
