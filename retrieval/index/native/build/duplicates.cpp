#include "build/duplicates.h"

#include <algorithm>
#include <cstring>

#include "runtime/checksum.h"

namespace retrieval {
namespace {

template <class Key>
using Keyed = std::vector<std::pair<Key, uint32_t>>;  // rows by a key, ascending in both

// The end of the run of equal keys that starts at `start`.
template <class Key>
size_t run_end(const Keyed<Key>& sorted, size_t start) {
  size_t end = start + 1;
  while (end < sorted.size() && sorted[end].first == sorted[start].first) end++;
  return end;
}

// Links `first` to the first of its n duplicates, and from there a tree as wide as the number of links allows.
void link_tree(GraphLevel& level, uint32_t first, const std::pair<uint32_t, uint32_t>* duplicates, size_t n) {
  const size_t degree = level.degree, children = degree - 1;
  uint32_t* const entrance = level.links.data() + degree * first;
  // Where all places are taken, the last one holds the least useful link
  *std::find(entrance, entrance + degree - 1, kNone) = duplicates[0].second;
  for (size_t i = 0; i < n; i++) {
    uint32_t* const links = level.links.data() + degree * duplicates[i].second;
    links[0] = first;
    const size_t from = i * children + 1;
    for (size_t j = 0; j < children && from + j < n; j++) links[1 + j] = duplicates[from + j].second;
  }
}

}  // namespace

std::vector<uint32_t> first_equal_rows(const uint8_t* codes, uint32_t count, uint32_t stride) {
  Keyed<uint64_t> sums(count);
  for (uint32_t row = 0; row < count; row++) sums[row] = {checksum(codes + size_t{stride} * row, stride, 0), row};
  std::sort(sums.begin(), sums.end());
  std::vector<uint32_t> first_equal(count), known;
  for (size_t start = 0, end; start < count; start = end) {
    end = run_end(sums, start);
    known.clear();  // one, unless codes of equal checksum differ
    for (size_t i = start; i < end; i++) {
      const uint32_t row = sums[i].second;
      const auto same = std::find_if(known.begin(), known.end(), [&](uint32_t other) {
        return std::memcmp(codes + size_t{stride} * other, codes + size_t{stride} * row, stride) == 0;
      });
      first_equal[row] = same != known.end() ? *same : row;
      if (same == known.end()) known.push_back(row);
    }
  }
  return first_equal;
}

void link_duplicates(Graph& graph) {
  Keyed<uint32_t> duplicates;  // by the first row with the same code
  for (uint32_t row = 0; row < graph.count; row++) {
    if (graph.is_duplicate(row)) duplicates.emplace_back(graph.first_equal[row], row);
  }
  std::sort(duplicates.begin(), duplicates.end());
  for (size_t start = 0, end; start < duplicates.size(); start = end) {
    end = run_end(duplicates, start);
    link_tree(graph.levels[0], duplicates[start].first, duplicates.data() + start, end - start);
  }
}

}  // namespace retrieval
