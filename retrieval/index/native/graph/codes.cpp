#include "graph/codes.h"

#include <algorithm>
#include <cmath>

#include "runtime/thread_pool.h"

namespace retrieval {
namespace {

constexpr float kLargest = 32767.0f;
constexpr uint32_t kBlock = 8192;

}  // namespace

std::vector<float> scales_of(const float* vectors, uint32_t count, uint32_t dim, unsigned threads) {
  const uint32_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<std::vector<float>> largest(blocks, std::vector<float>(dim, 0.0f));
  ThreadPool::shared().run(blocks, threads, [&](size_t block) {
    const uint32_t end = std::min<uint32_t>(count, static_cast<uint32_t>(block + 1) * kBlock);
    float* found = largest[block].data();
    for (uint32_t row = static_cast<uint32_t>(block) * kBlock; row < end; row++) {
      const float* vector = vectors + size_t{dim} * row;
      for (uint32_t d = 0; d < dim; d++) found[d] = std::max(found[d], std::fabs(vector[d]));
    }
  });
  std::vector<float> scales(stride_of(dim), 0.0f);
  for (const std::vector<float>& block : largest) {
    for (uint32_t d = 0; d < dim; d++) scales[d] = std::max(scales[d], block[d]);
  }
  for (float& scale : scales) scale /= kLargest;
  return scales;
}

void encode(const float* vectors, uint32_t first, uint32_t last, uint32_t dim, const float* scales, uint8_t* high,
            uint8_t* low) {
  const uint32_t stride = stride_of(dim);
  std::vector<float> inverse(dim);
  for (uint32_t d = 0; d < dim; d++) inverse[d] = scales[d] > 0 ? 1.0f / scales[d] : 0.0f;
  for (uint32_t row = first; row < last; row++) {
    const float* vector = vectors + size_t{dim} * row;
    uint8_t* const high_row = high + size_t{stride} * row;
    uint8_t* const low_row = low + size_t{stride} * row;
    for (uint32_t d = 0; d < dim; d++) {
      const float wide = vector[d] * inverse[d];
      const float value = wide >= -kLargest ? std::min(wide, kLargest) : -kLargest;  // NaN, too, ends here
      const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(std::lrint(value)) + 32768);
      high_row[d] = static_cast<uint8_t>(bits >> 8);
      low_row[d] = static_cast<uint8_t>(bits);
    }
    for (uint32_t d = dim; d < stride; d++) {
      high_row[d] = 128;
      low_row[d] = 0;
    }
  }
}

void into_blocks(const uint8_t* codes, uint32_t count, uint32_t stride, uint8_t* blocks) {
  std::fill_n(blocks, block_bytes(count, stride), uint8_t{0});
  for (uint32_t row = 0; row < count; row++) {
    const uint8_t* const from = codes + size_t{stride} * row;
    uint8_t* const to = blocks + size_t{stride} * (row - row % kBlockRows) + size_t{4} * (row % kBlockRows);
    for (uint32_t d = 0; d < stride; d += 4) std::copy_n(from + d, 4, to + size_t{kBlockRows} * d);
  }
}

AlignedVector<uint8_t> encoded_blocks(const float* vectors, uint32_t count, uint32_t dim, const float* scales) {
  const uint32_t stride = stride_of(dim);
  std::vector<uint8_t> high(size_t{stride} * count), low(high.size());
  encode(vectors, 0, count, dim, scales, high.data(), low.data());
  AlignedVector<uint8_t> blocks(block_bytes(count, stride));
  into_blocks(high.data(), count, stride, blocks.data());
  return blocks;
}

QueryCode QueryEncoder::encode(const float* query, uint32_t dim, const float* scales) {
  int8_t* const code = code_.data();
  float* const scaled = scaled_.data();
  const uint32_t stride = stride_of(dim);
  float largest = 0.0f;
  for (uint32_t d = 0; d < dim; d++) {
    scaled[d] = query[d] * scales[d];
    largest = std::max(largest, std::fabs(scaled[d]));
  }
  const float factor = largest > 0 ? 127.0f / largest : 0.0f;
  // an infinite factor (a query of tiny numbers) would make codes of nothing
  const float usable = std::isfinite(factor) ? factor : 0.0f;
  int32_t squares = 0;
  for (uint32_t d = 0; d < dim; d++) {
    const int32_t value = static_cast<int32_t>(std::lrint(scaled[d] * usable));
    code[d] = static_cast<int8_t>(value);
    squares += value * value;
  }
  for (uint32_t d = dim; d < stride; d++) {
    code[d] = 0;
    scaled[d] = 0.0f;
  }
  return {code, scaled, static_cast<float>(squares)};
}

}  // namespace retrieval
