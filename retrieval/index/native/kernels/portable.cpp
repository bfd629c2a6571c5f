// Plain C++, for processors without the others' instructions; compilers make vector code of most of it.

#include "kernels/kernels.h"

namespace retrieval {
namespace {

struct Isa {
  static void score4(const uint8_t* codes, uint32_t stride, const uint32_t* rows, const int8_t* query, int32_t* out) {
    for (uint32_t x = 0; x < 4; x++) {
      const uint8_t* code = codes + size_t{stride} * rows[x];
      int32_t sum = 0;
      for (uint32_t d = 0; d < stride; d++) sum += static_cast<int32_t>(code[d]) * query[d];
      out[x] = sum;
    }
  }

  static void score_block(const uint8_t* block, uint32_t stride, const int8_t* query, int32_t* out) {
    for (uint32_t x = 0; x < kBlockRows; x++) out[x] = 0;
    for (uint32_t d = 0; d < stride; d += 4) {
      const uint8_t* const codes = block + size_t{kBlockRows} * d;
      for (uint32_t x = 0; x < kBlockRows; x++) {
        for (uint32_t y = 0; y < 4; y++) out[x] += static_cast<int32_t>(codes[4 * x + y]) * query[d + y];
      }
    }
  }

  static uint32_t at_least(const int32_t* scores, int32_t least) {
    uint32_t found = 0;
    for (uint32_t x = 0; x < kBlockRows; x++) found |= static_cast<uint32_t>(scores[x] >= least) << x;
    return found;
  }

  static void bounds(const int32_t* scores, uint32_t n, uint32_t step, int32_t* low, int32_t* high) {
    for (uint32_t x = 0; x < kBlockRows; x++) low[x] = high[x] = scores[x];
    for (uint32_t j = 1; j < n; j++) {
      for (uint32_t x = 0; x < kBlockRows; x++) {
        const int32_t score = scores[size_t{step} * j + x];
        low[x] = score < low[x] ? score : low[x];
        high[x] = score > high[x] ? score : high[x];
      }
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
    float sums[16] = {};
    for (uint32_t d = 0; d < stride; d += 16) {
      for (uint32_t x = 0; x < 16; x++) {
        const int32_t value = (static_cast<int32_t>(high[d + x]) - 128) * 256 + low[d + x];
        sums[x] += scaled[d + x] * static_cast<float>(value);
      }
    }
    return total(sums);
  }

  static float dot(const float* a, const float* b, uint32_t dim) {
    float sums[16] = {};
    uint32_t d = 0;
    for (; d + 16 <= dim; d += 16) {
      for (uint32_t x = 0; x < 16; x++) sums[x] += a[d + x] * b[d + x];
    }
    for (uint32_t x = 0; d + x < dim; x++) sums[x] += a[d + x] * b[d + x];
    return total(sums);
  }

  static float total(float* sums) {
    for (uint32_t width = 8; width > 0; width /= 2) {
      for (uint32_t x = 0; x < width; x++) sums[x] += sums[x + width];
    }
    return sums[0];
  }
};

#include "kernels/kernels.inl"

}  // namespace

const Kernels kPortable{"portable", walk, scan, trim, nearest, rescore, Isa::dot, dots};

}  // namespace retrieval
