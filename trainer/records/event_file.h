#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/io_writer.h"

namespace isogrid {

struct Scalar {
  std::string_view tag;
  double value = 0;
};

/// CRC-32C (Castagnoli) of `bytes`.
uint32_t crc32c(ByteSpan bytes);

/// A TensorBoard event file. Each attempt at a run writes one of its own, whose name sorts behind
/// those already there; the first thing in it tells TensorBoard to forget what earlier attempts
/// said about the steps that follow.
class EventFile {
 public:
  /// `resume_step` steps are done; 0 for a run from its beginning.
  EventFile(const std::string& folder, int64_t resume_step, IoCalls& io);

  void put(int64_t step, const std::vector<Scalar>& scalars);
  void flush() { file_.flush(); }
  void sync() { file_.sync(); }

 private:
  void put_record(const std::string& event);

  OutputDirectory directory_;
  AppendFile file_;
};

/// The parts of an event file, for tests of its bytes: a protobuf Event and its framing.
std::string scalar_event(double wall_time, int64_t step, const std::vector<Scalar>& scalars);
std::string framed_record(std::string_view data);

}  // namespace isogrid
