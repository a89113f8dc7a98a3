#include "core/hash.h"
#include "core/sha256_constants.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

namespace isogrid {

bool sha256_is_native() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kSha = 1U << 29, kSse41 = 1U << 19, kSsse3 = 1U << 9;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & kSha) == 0) return false;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & kSse41) != 0 && (c & kSsse3) != 0;
}

// The instructions keep the state as the words ABEF and CDGH and do two rounds at a time;
// `schedule` holds the last sixteen words of the message schedule, four to a register.
__attribute__((target("sha,sse4.1,ssse3"))) void sha256_blocks_native(uint32_t* state,
                                                                      const std::byte* blocks,
                                                                      size_t count) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const __m128i dcba = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state));
  const __m128i hgfe = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state + 4));
  const __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
  const __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
  __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
  for (; count > 0; --count, blocks += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i schedule[4];
    for (int i = 0; i < 4; ++i)
      schedule[i] =
          _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks) + i), swap);
#pragma GCC unroll 16
    for (int t = 0; t < 16; ++t) {
      const auto* constants = reinterpret_cast<const __m128i*>(kSha256Constants.data()) + t;
      __m128i words = _mm_add_epi32(schedule[t & 3], _mm_load_si128(constants));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
      words = _mm_shuffle_epi32(words, 0x0e);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, words);
      if (t >= 12) continue;  // the last four groups need no successor
      const __m128i newest = schedule[(t + 3) & 3];
      const __m128i seven_back = _mm_alignr_epi8(newest, schedule[(t + 2) & 3], 4);
      const __m128i partial =
          _mm_add_epi32(_mm_sha256msg1_epu32(schedule[t & 3], schedule[(t + 1) & 3]), seven_back);
      schedule[t & 3] = _mm_sha256msg2_epu32(partial, newest);
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

}  // namespace isogrid

#else

namespace isogrid {

bool sha256_is_native() { return false; }
void sha256_blocks_native(uint32_t* state, const std::byte* blocks, size_t count) {
  sha256_blocks_portable(state, blocks, count);
}

}  // namespace isogrid

#endif
