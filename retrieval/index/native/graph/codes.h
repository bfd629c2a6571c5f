// Vectors as 16-bit fixed point in two planes of bytes (see view.h), and queries in the same terms.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/view.h"

namespace retrieval {

// Scales [stride] with which every coordinate of the vectors [count * dim] fits; multi-threaded.
std::vector<float> scales_of(const float* vectors, uint32_t count, uint32_t dim, unsigned threads);

// Writes the planes of vectors [first, last) to high and low [count * stride].
void encode(const float* vectors, uint32_t first, uint32_t last, uint32_t dim, const float* scales, uint8_t* high,
            uint8_t* low);

// Codes [count * stride] once more, in blocks (see CodedRows); the rows that the last one lacks are zeros.
void into_blocks(const uint8_t* codes, uint32_t count, uint32_t stride, uint8_t* blocks);

// Fills code and scaled, both [stride], from a query [dim]; the result points to them.
QueryCode encode_query(const float* query, uint32_t dim, const float* scales, int8_t* code, float* scaled);

}  // namespace retrieval
