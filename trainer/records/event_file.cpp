#include "trainer/records/event_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>

namespace isogrid {
namespace {

constexpr std::string_view kNameBeginning = "events.out.tfevents.";

// Protobuf's wire format, as far as TensorBoard's messages need it.
enum class Wire : uint64_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put_tag(std::string& out, uint64_t field, Wire wire) {
  put_varint(out, field << 3 | static_cast<uint64_t>(wire));
}

template <typename Number>
void put_little_endian(std::string& out, Number value) {
  for (size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

void put_bytes(std::string& out, uint64_t field, std::string_view bytes) {
  put_tag(out, field, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

// Event: wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7.
std::string event_head(double wall_time, int64_t step) {
  std::string event;
  put_tag(event, 1, Wire::fixed64);
  put_little_endian(event, std::bit_cast<uint64_t>(wall_time));
  if (step != 0) {
    put_tag(event, 2, Wire::varint);
    put_varint(event, static_cast<uint64_t>(step));
  }
  return event;
}

std::string version_event(double wall_time) {
  std::string event = event_head(wall_time, 0);
  put_bytes(event, 3, "brain.Event:2");
  return event;
}

/// SessionLog{status: START}: what was said of `step` and later is void.
std::string restart_event(double wall_time, int64_t step) {
  std::string event = event_head(wall_time, step), session;
  put_tag(session, 1, Wire::varint);
  put_varint(session, 1);
  put_bytes(event, 7, session);
  return event;
}

constexpr std::array<uint32_t, 256> castagnoli_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t remainder = i;
    for (int bit = 0; bit < 8; ++bit)
      remainder = remainder >> 1 ^ ((remainder & 1) != 0 ? 0x82f63b78u : 0u);
    table[i] = remainder;
  }
  return table;
}

/// TensorFlow stores checksums rotated, so that a checksum of data that holds one is not special.
uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

double wall_time_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// TensorBoard reads the files of a folder in the order of their names, which begin with the time
/// they were made; clocks may go backwards.
std::string next_name(const std::string& folder) {
  auto seconds = static_cast<uint64_t>(wall_time_now());
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kNameBeginning)) continue;
    uint64_t made = 0;
    const char* digits = name.data() + kNameBeginning.size();
    std::from_chars(digits, name.data() + name.size(), made);
    if (made < 9'999'999'999) seconds = std::max(seconds, made + 1);
  }
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "%s%010llu.isogrid", kNameBeginning.data(),
                static_cast<unsigned long long>(seconds));
  return name.data();
}

const std::string& made(const std::string& folder, IoCalls& io) {
  make_directories(folder, io);
  return folder;
}

}  // namespace

uint32_t crc32c(ByteSpan bytes) {
  static constexpr std::array<uint32_t, 256> table = castagnoli_table();
  uint32_t crc = ~0u;
  for (const std::byte byte : bytes)
    crc = table[(crc ^ std::to_integer<uint32_t>(byte)) & 0xff] ^ crc >> 8;
  return ~crc;
}

std::string framed_record(std::string_view data) {
  std::string record;
  put_little_endian(record, static_cast<uint64_t>(data.size()));
  put_little_endian(record, masked(crc32c(as_bytes(record))));
  record += data;
  put_little_endian(record, masked(crc32c(as_bytes(data))));
  return record;
}

std::string scalar_event(double wall_time, int64_t step, const std::vector<Scalar>& scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) {
    std::string value;  // Summary.Value: tag = 1, simple_value = 2
    put_bytes(value, 1, scalar.tag);
    put_tag(value, 2, Wire::fixed32);
    put_little_endian(value, std::bit_cast<uint32_t>(static_cast<float>(scalar.value)));
    put_bytes(summary, 1, value);
  }
  std::string event = event_head(wall_time, step);
  put_bytes(event, 5, summary);
  return event;
}

EventFile::EventFile(const std::string& folder, int64_t resume_step, IoCalls& io)
    : directory_(made(folder, io), io), file_(directory_, next_name(folder)) {
  put_record(version_event(wall_time_now()));
  // A step in an attempt that came to no checkpoint is void as well.
  put_record(restart_event(wall_time_now(), resume_step + 1));
  file_.flush();
}

void EventFile::put(int64_t step, const std::vector<Scalar>& scalars) {
  put_record(scalar_event(wall_time_now(), step, scalars));
}

void EventFile::put_record(const std::string& event) { file_.put(as_bytes(framed_record(event))); }

}  // namespace isogrid
