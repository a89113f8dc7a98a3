#pragma once
#include <cstdint>
#include <new>
#include <string>

namespace isogrid {

/// What the program is doing ("step 12 of 300"), for messages about running out of something. Set
/// by the main thread only.
void set_phase(std::string phase);
const std::string& current_phase();

/// A request for memory that failed, with its size.
class MemoryError : public std::bad_alloc {
 public:
  explicit MemoryError(uint64_t bytes) : bytes_(bytes) {}
  uint64_t bytes() const { return bytes_; }
  const char* what() const noexcept override { return "out of memory"; }

 private:
  uint64_t bytes_;
};

/// The message for exit code 71. `bytes` 0: not known.
std::string out_of_memory_text(uint64_t bytes);

/// Does a library's message say that memory ran out? Then the bytes it asked for, or 0.
bool tells_of_memory(const std::string& message, uint64_t& bytes);

}  // namespace isogrid
