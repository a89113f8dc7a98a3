#pragma once
#include <cstdint>

namespace isogrid {

/// The largest resident set of this process since it began, the program's own libraries included.
/// 0: the system does not tell.
int64_t peak_resident_bytes();

}  // namespace isogrid
