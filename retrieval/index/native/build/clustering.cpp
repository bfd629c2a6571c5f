#include "build/clustering.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "graph/codes.h"
#include "kernels/kernels.h"
#include "runtime/random.h"
#include "runtime/thread_pool.h"

namespace retrieval {
namespace {

constexpr uint32_t kMinVectors = 4096;  // fewer are scanned as fast
constexpr uint32_t kSampledPerLeaf = 64;
constexpr int kRounds = 12;
constexpr uint32_t kAtOnce = 1024;  // vectors in a piece of work

class KMeans {
 public:
  KMeans(const float* vectors, uint32_t count, uint32_t dim, uint32_t leaves, unsigned threads)
      : vectors_(vectors), count_(count), dim_(dim), leaves_(leaves), stride_(stride_of(dim)), threads_(threads),
        scales_(scales_of(vectors, count, dim, threads)), centres_(size_t{leaves} * dim) {
    scales_.resize(stride_, 0.0f);
  }

  void run(uint64_t seed) {
    std::vector<uint32_t> sample(count_);
    std::iota(sample.begin(), sample.end(), 0);
    std::sort(sample.begin(), sample.end(),
              [seed](uint32_t a, uint32_t b) { return random_bits(seed, a) < random_bits(seed, b); });
    sample.resize(std::min<size_t>(count_, size_t{kSampledPerLeaf} * leaves_));
    for (uint32_t l = 0; l < leaves_; l++) std::copy_n(vector(sample[l]), dim_, centre(l));
    for (int round = 0; round < kRounds; round++) move(sample, nearest(sample));
  }

  // The leaf of each of `rows`.
  std::vector<uint32_t> nearest(const std::vector<uint32_t>& rows) const {
    const AlignedVector<uint8_t> blocks = encoded_blocks(centres_.data(), leaves_, dim_, scales_.data());
    std::vector<uint32_t> found(rows.size());
    ThreadPool::shared().run((rows.size() + kAtOnce - 1) / kAtOnce, threads_, [&](size_t piece) {
      QueryEncoder encoder(stride_);
      for (size_t i = piece * kAtOnce; i < std::min(rows.size(), (piece + 1) * kAtOnce); i++) {
        const QueryCode query = encoder.encode(vector(rows[i]), dim_, scales_.data());
        found[i] = kernels_.nearest(blocks.data(), leaves_, stride_, query);
      }
    });
    return found;
  }

  std::vector<float> centres() const { return centres_; }

 private:
  const float* vector(uint32_t row) const { return vectors_ + size_t{dim_} * row; }
  float* centre(uint32_t leaf) { return centres_.data() + size_t{dim_} * leaf; }

  // Moves every centre to the mean of its vectors; one without any stays. Sums in the order of the rows, so that they
  // do not depend on the threads.
  void move(const std::vector<uint32_t>& rows, const std::vector<uint32_t>& leaf) {
    std::vector<float> sums(centres_.size(), 0.0f);
    std::vector<uint32_t> sizes(leaves_, 0);
    for (size_t i = 0; i < rows.size(); i++) {
      const float* const from = vector(rows[i]);
      float* const to = sums.data() + size_t{dim_} * leaf[i];
      for (uint32_t d = 0; d < dim_; d++) to[d] += from[d];
      sizes[leaf[i]]++;
    }
    for (uint32_t l = 0; l < leaves_; l++) {
      if (sizes[l] == 0) continue;
      std::copy_n(sums.data() + size_t{dim_} * l, dim_, centre(l));
      l2_normalise(centre(l), dim_);
    }
  }

  const float* vectors_;
  const uint32_t count_, dim_, leaves_, stride_;
  const unsigned threads_;
  std::vector<float> scales_, centres_;
  const Kernels& kernels_ = kernels();
};

}  // namespace

void l2_normalise(float* vector, uint32_t dim) {
  double squares = 0;
  for (uint32_t d = 0; d < dim; d++) squares += double{vector[d]} * vector[d];
  const double length = std::sqrt(squares);
  for (uint32_t d = 0; d < dim && length > 0; d++) vector[d] = static_cast<float>(vector[d] / length);
}

Arrangement arrange(const float* vectors, uint32_t count, uint32_t dim, uint64_t seed, unsigned threads) {
  Arrangement made;
  made.order.resize(count);
  std::iota(made.order.begin(), made.order.end(), 0);
  made.starts = {0};
  if (count < kMinVectors) return made;
  const uint32_t leaves = static_cast<uint32_t>(3 * std::sqrt(static_cast<double>(count)));
  KMeans means(vectors, count, dim, leaves, threads);
  means.run(seed);
  const std::vector<uint32_t> leaf = means.nearest(made.order);
  made.starts.assign(leaves + 1, 0);
  for (uint32_t l : leaf) made.starts[l + 1]++;
  std::partial_sum(made.starts.begin(), made.starts.end(), made.starts.begin());
  std::stable_sort(made.order.begin(), made.order.end(), [&leaf](uint32_t a, uint32_t b) { return leaf[a] < leaf[b]; });
  made.centres = means.centres();
  return made;
}

}  // namespace retrieval
