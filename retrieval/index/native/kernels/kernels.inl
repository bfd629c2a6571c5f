// The loops themselves, written against `Isa`: a struct that the including file defines in its anonymous namespace.
// Nothing here may instantiate a function that other files share (std::vector, std::sort): the linker would keep one
// copy of it, perhaps the one whose instructions this processor does not have.
//
// Isa::score4(codes, stride, ordinals, query, out)   scores [4] of four rows
// Isa::score_block(block, stride, query, out)        of a block's rows [16], `out` at a cache line
// Isa::at_least(scores, least)                       bits of those of scores [16] that are no lower
// Isa::pack(scores, rows, bits, to_scores, to_rows)  scores and rows [16] to the front, those with a bit; `to` has room
//                                                    for all sixteen, and may be where they are or before
// Isa::bounds(scores, n, step, low, high)            least and greatest [16] of `n` times sixteen, `step` apart, n > 0
// Isa::rescore(high, low, scaled, stride)            inner product of one row's 16-bit coordinates
// Isa::dot(a, b, dim)                                inner product of two float32 vectors

inline void prefetch(const void* where) { __builtin_prefetch(where, 0, 3); }

#include "kernels/scan.inl"
#include "kernels/walk.inl"

void rescore(const GraphView& graph, const QueryCode& query, const uint32_t* rows, uint32_t n, float* scores) {
  const uint8_t* high = graph.level[0].codes;
  for (uint32_t j = 0; j < n; j++) {
    for (uint32_t b = 0; b < graph.stride; b += 64) {
      prefetch(high + size_t{graph.stride} * rows[j] + b);
      prefetch(graph.low_bytes + size_t{graph.stride} * rows[j] + b);
    }
  }
  for (uint32_t j = 0; j < n; j++) {
    const size_t at = size_t{graph.stride} * rows[j];
    scores[j] = Isa::rescore(high + at, graph.low_bytes + at, query.scaled, graph.stride);
  }
}

void dots(const float* query, const float* vectors, uint32_t n, uint32_t dim, float* scores) {
  constexpr size_t kAhead = 4096;  // bytes: the processor's own reading ahead stops at each page
  const size_t bytes = dim * sizeof(float);
  for (uint32_t j = 0; j < n; j++) {
    const float* const vector = vectors + size_t{dim} * j;
    const char* const ahead = reinterpret_cast<const char*>(vector) + kAhead;
    for (size_t b = 0; b < bytes; b += 64) prefetch(ahead + b);
    scores[j] = Isa::dot(query, vector, dim);
  }
}
