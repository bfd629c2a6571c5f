// AVX2 and FMA (x86-64 processors since about 2013).
#include <immintrin.h>

#include "kernels/kernels.h"

namespace retrieval {
namespace {

struct Isa {
  // 8-bit products are widened first: the instruction that multiplies bytes would saturate its 16-bit sums
  static __m256i score(__m256i sum, const uint8_t* code, __m256i query_low, __m256i query_high) {
    const __m256i low = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code)));
    const __m256i high = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code + 16)));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, query_low));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(high, query_high));
  }

  static void score4(const uint8_t* codes, uint32_t stride, const uint32_t* rows, const int8_t* query, int32_t* out) {
    __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    const uint8_t* code[4];
    for (int x = 0; x < 4; x++) code[x] = codes + size_t{stride} * rows[x];
    for (uint32_t d = 0; d < stride; d += 32) {
      const __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(query + d)));
      const __m256i high = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(query + d + 16)));
      for (int x = 0; x < 4; x++) sums[x] = score(sums[x], code[x] + d, low, high);
    }
    const __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), four);
  }

  static void score_block(const uint8_t* block, uint32_t stride, const int8_t* query, int32_t* out) {
    // Four rows in each, with two sums of two coordinates for each row
    __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (uint32_t d = 0; d < stride; d += 4) {
      int32_t part;
      __builtin_memcpy(&part, query + d, sizeof part);
      const __m256i four = _mm256_cvtepi8_epi16(_mm_set1_epi32(part));
      for (uint32_t x = 0; x < 4; x++) {
        const uint8_t* const codes = block + size_t{kBlockRows} * d + size_t{16} * x;
        const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
        sums[x] = _mm256_add_epi32(sums[x], _mm256_madd_epi16(wide, four));
      }
    }
    for (uint32_t x = 0; x < 2; x++) {
      const __m256i pairs = _mm256_hadd_epi32(sums[size_t{2} * x], sums[size_t{2} * x + 1]);
      _mm256_store_si256(reinterpret_cast<__m256i*>(out + size_t{8} * x), _mm256_permute4x64_epi64(pairs, 0xd8));
    }
  }

  static uint32_t at_least(const int32_t* scores, int32_t least) {
    uint32_t found = 0;
    for (uint32_t x = 0; x < 2; x++) {
      const __m256i eight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scores + size_t{8} * x));
      const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(least), eight);
      found |= (~static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(below))) & 255u) << (8 * x);
    }
    return found;
  }

  static void bounds(const int32_t* scores, uint32_t n, uint32_t step, int32_t* low, int32_t* high) {
    for (uint32_t x = 0; x < 16; x += 8) {
      __m256i least = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scores + x)), most = least;
      for (uint32_t j = 1; j < n; j++) {
        const __m256i some = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scores + size_t{step} * j + x));
        least = _mm256_min_epi32(least, some);
        most = _mm256_max_epi32(most, some);
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(low + x), least);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(high + x), most);
    }
  }

  static void pack(const int32_t* scores, const uint32_t* rows, uint32_t bits, int32_t* to_scores, uint32_t* to_rows) {
    for (uint32_t n = 0; bits != 0; bits &= bits - 1, n++) {
      const uint32_t x = static_cast<uint32_t>(__builtin_ctz(bits));
      to_scores[n] = scores[x];
      to_rows[n] = rows[x];
    }
  }

  static float rescore(const uint8_t* high, const uint8_t* low, const float* scaled, uint32_t stride) {
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    const __m256i middle = _mm256_set1_epi32(32768);
    for (uint32_t d = 0; d < stride; d += 16) {
      for (uint32_t x = 0; x < 2; x++) {
        const size_t at = d + size_t{8} * x;
        const __m256i upper = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(high + at)));
        const __m256i lower = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(low + at)));
        const __m256i value = _mm256_sub_epi32(_mm256_or_si256(_mm256_slli_epi32(upper, 8), lower), middle);
        sums[x] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(value), _mm256_loadu_ps(scaled + at), sums[x]);
      }
    }
    return total(_mm256_add_ps(sums[0], sums[1]));
  }

  static float dot(const float* a, const float* b, uint32_t dim) {
    __m256 first = _mm256_setzero_ps(), second = _mm256_setzero_ps();
    uint32_t d = 0;
    for (; d + 16 <= dim; d += 16) {
      first = _mm256_fmadd_ps(_mm256_loadu_ps(a + d), _mm256_loadu_ps(b + d), first);
      second = _mm256_fmadd_ps(_mm256_loadu_ps(a + d + 8), _mm256_loadu_ps(b + d + 8), second);
    }
    float sum = total(_mm256_add_ps(first, second));
    for (; d < dim; d++) sum += a[d] * b[d];
    return sum;
  }

  static float total(__m256 sums) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_shuffle_ps(four, four, 1)));
  }
};

#include "kernels/kernels.inl"

}  // namespace

const Kernels kAvx2{"avx2", walk, scan, trim, nearest, rescore, Isa::dot, dots};

}  // namespace retrieval
