#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace isogrid {

/// The largest resident set of this process since it began, the program's own libraries included.
/// 0: the system does not tell.
int64_t peak_resident_bytes();

/// Bytes of a file's mapping that are not needed any more: their whole pages leave this process's
/// memory, and come back from the page cache if they are read after all. Not for bytes written to.
void drop_pages(std::span<const std::byte> mapped);

}  // namespace isogrid
