#pragma once
#include <cstdint>

namespace isogrid {

/// From here on LibTorch's large CPU buffers are kept when they are freed and handed out again:
/// every step asks for the same sizes, and pages fresh from the kernel cost up to a quarter of its
/// time. Alive and kept together stay within a tenth above the most that was ever alive.
void keep_freed_buffers();

/// Bytes kept at the moment, for tests.
int64_t kept_buffer_bytes();

}  // namespace isogrid
