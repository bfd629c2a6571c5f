// The loops themselves, written against `Isa`: a struct that the including file defines in its anonymous namespace.
// Nothing here may instantiate a function that other files share (std::vector, std::sort): the linker would keep one
// copy of it, perhaps the one whose instructions this processor does not have.
//
// Isa::score4(codes, stride, ordinals, query, out)   scores [4] of four rows
// Isa::score16(codes, stride, query, least, out)     of consecutive rows [16]; bits of those no lower than `least`
// Isa::finish(high, low, scaled, stride)             inner product of one row's 16-bit coordinates
// Isa::dot(a, b, dim)                                inner product of two float32 vectors

inline void prefetch(const void* where) { __builtin_prefetch(where, 0, 3); }

#include "sift.inl"
#include "walk.inl"

void finish(const GraphView& graph, const QueryCode& query, const uint32_t* rows, uint32_t n, float* scores) {
  const uint8_t* high = graph.level[0].codes;
  for (uint32_t j = 0; j < n; j++) {
    for (uint32_t b = 0; b < graph.stride; b += 64) {
      prefetch(high + size_t{graph.stride} * rows[j] + b);
      prefetch(graph.rest + size_t{graph.stride} * rows[j] + b);
    }
  }
  for (uint32_t j = 0; j < n; j++) {
    const size_t at = size_t{graph.stride} * rows[j];
    scores[j] = Isa::finish(high + at, graph.rest + at, query.scaled, graph.stride);
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
