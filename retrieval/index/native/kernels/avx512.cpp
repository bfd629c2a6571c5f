// AVX-512 with VNNI (Intel since Ice Lake, AMD since Zen 4): one instruction multiplies and adds 64 coordinates.
// GCC warns about its own header: https://gcc.gnu.org/bugzilla/show_bug.cgi?id=105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "kernels/kernels.h"

namespace retrieval {
namespace {

struct Isa {
  static void score4(const uint8_t* codes, uint32_t stride, const uint32_t* rows, const int8_t* query, int32_t* out) {
    const uint8_t* code[4];
    for (int x = 0; x < 4; x++) code[x] = codes + size_t{stride} * rows[x];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), four(code[0], code[1], code[2], code[3], stride, query));
  }

  static void score_block(const uint8_t* block, uint32_t stride, const int8_t* query, int32_t* out) {
    // With a stride that the compiler knows, the loop is unrolled
    _mm512_store_si512(out, stride == 64 ? sixteen(block, 64, query) : sixteen(block, stride, query));
  }

  static uint32_t at_least(const int32_t* scores, int32_t least) {
    uint32_t bits = _mm512_cmpge_epi32_mask(_mm512_loadu_si512(scores), _mm512_set1_epi32(least));
    // GCC 12 may store the 16 bits of a mask and load 32: here they must be in a register that has all of them
    __asm__("" : "+r"(bits));
    return bits;
  }

  static void bounds(const int32_t* scores, uint32_t n, uint32_t step, int32_t* low, int32_t* high) {
    __m512i least = _mm512_loadu_si512(scores), most = least;
    for (uint32_t j = 1; j < n; j++) {
      const __m512i some = _mm512_loadu_si512(scores + size_t{step} * j);
      least = _mm512_min_epi32(least, some);
      most = _mm512_max_epi32(most, some);
    }
    _mm512_storeu_si512(low, least);
    _mm512_storeu_si512(high, most);
  }

  static void pack(const int32_t* scores, const uint32_t* rows, uint32_t bits, int32_t* to_scores, uint32_t* to_rows) {
    const __mmask16 mask = static_cast<__mmask16>(bits);
    // By way of registers, since some processors are slow at compressing straight to memory
    _mm512_storeu_si512(to_scores, _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(scores)));
    _mm512_storeu_si512(to_rows, _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(rows)));
  }

  __attribute__((always_inline)) static __m512i sixteen(const uint8_t* block, uint32_t stride, const int8_t* query) {
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (uint32_t d = 0; d < stride; d += 16) {
      for (uint32_t x = 0; x < 4; x++) {
        int32_t part;
        __builtin_memcpy(&part, query + d + size_t{4} * x, sizeof part);
        sums[x] = _mm512_dpbusd_epi32(sums[x], _mm512_loadu_si512(block + size_t{kBlockRows} * (d + 4 * x)),
                                      _mm512_set1_epi32(part));
      }
    }
    return _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3]));
  }

  __attribute__((always_inline)) static __m128i four(const uint8_t* a, const uint8_t* b, const uint8_t* c,
                                                     const uint8_t* e, uint32_t stride, const int8_t* query) {
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (uint32_t d = 0; d < stride; d += 64) {
      const __m512i part = _mm512_loadu_si512(query + d);
      sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_loadu_si512(a + d), part);
      sums[1] = _mm512_dpbusd_epi32(sums[1], _mm512_loadu_si512(b + d), part);
      sums[2] = _mm512_dpbusd_epi32(sums[2], _mm512_loadu_si512(c + d), part);
      sums[3] = _mm512_dpbusd_epi32(sums[3], _mm512_loadu_si512(e + d), part);
    }
    const __m512i first =
        _mm512_add_epi32(_mm512_unpacklo_epi32(sums[0], sums[1]), _mm512_unpackhi_epi32(sums[0], sums[1]));
    const __m512i second =
        _mm512_add_epi32(_mm512_unpacklo_epi32(sums[2], sums[3]), _mm512_unpackhi_epi32(sums[2], sums[3]));
    const __m512i both = _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(both), _mm512_extracti64x4_epi64(both, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  }

  static float rescore(const uint8_t* high, const uint8_t* low, const float* scaled, uint32_t stride) {
    __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    const __m512i middle = _mm512_set1_epi32(32768);
    for (uint32_t d = 0; d < stride; d += 32) {
      for (uint32_t x = 0; x < 2; x++) {
        const uint32_t at = d + 16 * x;
        const __m512i upper = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(high + at)));
        const __m512i lower = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low + at)));
        const __m512i value = _mm512_sub_epi32(_mm512_or_si512(_mm512_slli_epi32(upper, 8), lower), middle);
        sums[x] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(value), _mm512_loadu_ps(scaled + at), sums[x]);
      }
    }
    return total(_mm512_add_ps(sums[0], sums[1]));
  }

  static float dot(const float* a, const float* b, uint32_t dim) {
    __m512 first = _mm512_setzero_ps(), second = _mm512_setzero_ps();
    uint32_t d = 0;
    for (; d + 32 <= dim; d += 32) {
      first = _mm512_fmadd_ps(_mm512_loadu_ps(a + d), _mm512_loadu_ps(b + d), first);
      second = _mm512_fmadd_ps(_mm512_loadu_ps(a + d + 16), _mm512_loadu_ps(b + d + 16), second);
    }
    for (; d < dim; d += 16) {
      const __mmask16 left = dim - d < 16 ? static_cast<__mmask16>((1u << (dim - d)) - 1) : static_cast<__mmask16>(~0u);
      first = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(left, a + d), _mm512_maskz_loadu_ps(left, b + d), first);
    }
    return total(_mm512_add_ps(first, second));
  }

  static float total(__m512 sums) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sums),
                                       _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sums), 1)));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_shuffle_ps(four, four, 1)));
  }
};

#include "kernels/kernels.inl"

}  // namespace

const Kernels kAvx512{"avx512", walk, scan, trim, nearest, rescore, Isa::dot, dots};

}  // namespace retrieval
