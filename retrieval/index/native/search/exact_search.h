// Exact search over float32 vectors: the reference, and the fastest way for few rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "search/query.h"

namespace retrieval {

// Answers [n] over vectors [count * dim].
void search_exactly(const float* vectors, uint32_t count, uint32_t dim, const Ask* asks, size_t n, Answer* answers,
                    unsigned threads, const Kernels& kernels);

}  // namespace retrieval
