#pragma once
// Before any namespace of a kernel file: cpu_vector.inc names a few instructions.
#if defined(__x86_64__)
#include <immintrin.h>
#endif
