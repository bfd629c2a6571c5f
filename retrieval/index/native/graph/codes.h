// Vectors as 16-bit fixed point in two planes of bytes (see view.h), and queries in the same terms.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/view.h"
#include "runtime/aligned.h"

namespace retrieval {

// Scales [stride] with which every coordinate of the vectors [count * dim] fits; multi-threaded.
std::vector<float> scales_of(const float* vectors, uint32_t count, uint32_t dim, unsigned threads);

// Writes the planes of vectors [first, last) to high and low [count * stride].
void encode(const float* vectors, uint32_t first, uint32_t last, uint32_t dim, const float* scales, uint8_t* high,
            uint8_t* low);

// Copies codes [count * stride] into blocks (see CodedRows); rows that the last block lacks become zeros.
void into_blocks(const uint8_t* codes, uint32_t count, uint32_t stride, uint8_t* blocks);

// Vectors [count * dim] as codes of their high bytes, in blocks.
AlignedVector<uint8_t> encoded_blocks(const float* vectors, uint32_t count, uint32_t dim, const float* scales);

// Encodes queries, one at a time, into memory of its own.
class QueryEncoder {
 public:
  explicit QueryEncoder(uint32_t stride) : code_(stride), scaled_(stride) {}

  // A query [dim] in codes; the result is valid until the next one.
  QueryCode encode(const float* query, uint32_t dim, const float* scales);

 private:
  AlignedVector<int8_t> code_;
  AlignedVector<float> scaled_;
};

}  // namespace retrieval
