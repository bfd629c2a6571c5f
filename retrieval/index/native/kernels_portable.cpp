// Plain C++, for processors without the others' instructions; compilers make vector code of most of it.

#include "kernels.h"

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

  static uint32_t score16(const uint8_t* codes, uint32_t stride, const int8_t* query, int32_t least, int32_t* out) {
    const uint32_t rows[4] = {0, 1, 2, 3};
    uint32_t found = 0;
    for (uint32_t j = 0; j < 16; j += 4) score4(codes + size_t{stride} * j, stride, rows, query, out + j);
    for (uint32_t x = 0; x < 16; x++) found |= static_cast<uint32_t>(out[x] >= least) << x;
    return found;
  }

  static float finish(const uint8_t* high, const uint8_t* low, const float* scaled, uint32_t stride) {
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

#include "kernels.inl"

}  // namespace

const Kernels kPortable{"portable", walk, sift, gather, finish, Isa::dot, dots};

}  // namespace retrieval
