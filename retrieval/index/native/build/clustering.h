// Clusters vectors into leaves: an order of the rows in which those near each other stand together, leaf after leaf,
// each found by its centre. Comparing consecutive rows costs a tenth of following links, so that for tens of candidates
// and more, looking into some leaves beats a walk.
#pragma once

#include <cstdint>
#include <vector>

namespace retrieval {

struct Arrangement {
  std::vector<uint32_t> order;   // [count] the row that belongs at each place
  std::vector<uint32_t> starts;  // [leaves + 1] first place of each leaf
  std::vector<float> centres;    // [leaves * dim] unit vectors
};

// Spherical k-means (Dhillon & Modha 2001) with 3 * sqrt(count) leaves over a sample; within a leaf rows keep their
// order. Fewer than 4,096 vectors stay as they are, without leaves. The same for any number of threads.
Arrangement arrange(const float* vectors, uint32_t count, uint32_t dim, uint64_t seed, unsigned threads);

// Scales a vector [dim] to length 1; one of zeros stays.
void l2_normalise(float* vector, uint32_t dim);

}  // namespace retrieval
