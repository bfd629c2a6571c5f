// Sorting scored rows, of which the best k are needed in order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace retrieval {

struct ScoredRow {
  float score;
  uint32_t row;
};

// Best first. An object, since sorting would call a function by its address.
struct RanksBefore {
  bool operator()(const ScoredRow& a, const ScoredRow& b) const {
    return a.score != b.score ? a.score > b.score : a.row < b.row;
  }
};
inline constexpr RanksBefore ranks_before;

// Sorts a few hundred rows by descending score, equal ones by row. They go to buckets of equal width first, about one
// row to each, so that little is left to sort in a bucket, with few branches that the processor could mispredict.
class BucketSort {
 public:
  // `rows` [n] in, the same rows out, the first `k` of them in order. No score may be NaN.
  void sort(std::vector<ScoredRow>& rows, size_t k) {
    const size_t n = rows.size();
    if (n < 2) return;
    float least = rows[0].score, most = rows[0].score;
    for (const ScoredRow& one : rows) {
      least = std::min(least, one.score);
      most = std::max(most, one.score);
    }
    const uint32_t buckets = static_cast<uint32_t>(std::min<size_t>(2 * n, 1u << 16));
    const float width = most - least;
    const float factor = width > 0 ? static_cast<float>(buckets - 1) / width : 0.0f;
    const auto bucket_of = [&](float score) {
      return std::min(buckets - 1, static_cast<uint32_t>(static_cast<int32_t>((most - score) * factor)));
    };
    ends_.assign(buckets + 1, 0);
    for (const ScoredRow& one : rows) ends_[bucket_of(one.score) + 1]++;
    for (uint32_t b = 0; b < buckets; b++) ends_[b + 1] += ends_[b];
    sorted_.resize(n);
    for (const ScoredRow& one : rows) sorted_[ends_[bucket_of(one.score)]++] = one;
    // By now ends_[b] is where bucket b ends
    for (uint32_t b = 0, start = 0; b < buckets && start < k; start = ends_[b++]) sort_few(start, ends_[b]);
    rows.swap(sorted_);
  }

 private:
  void sort_few(size_t start, size_t end) {
    if (end - start > kFew) {
      std::sort(sorted_.begin() + static_cast<std::ptrdiff_t>(start),
                sorted_.begin() + static_cast<std::ptrdiff_t>(end), ranks_before);
      return;
    }
    for (size_t i = start + 1; i < end; i++) {
      const ScoredRow one = sorted_[i];
      size_t j = i;
      for (; j > start && ranks_before(one, sorted_[j - 1]); j--) sorted_[j] = sorted_[j - 1];
      sorted_[j] = one;
    }
  }

  static constexpr size_t kFew = 16;

  std::vector<uint32_t> ends_;
  std::vector<ScoredRow> sorted_;
};

}  // namespace retrieval
