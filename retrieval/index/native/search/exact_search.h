// Exact search over float32 vectors: the reference, and the fastest way for few rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "search/query.h"

namespace retrieval {

// Hits [n] over vectors [count * dim].
void search_exactly(const float* vectors, uint32_t count, uint32_t dim, const Query* queries, size_t n, Hits* hits,
                    unsigned threads, const Kernels& kernels);

}  // namespace retrieval
