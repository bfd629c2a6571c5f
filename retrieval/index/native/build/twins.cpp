#include "build/twins.h"

#include <algorithm>
#include <cstring>

#include "file/files.h"

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

// A link of the first to the first of its twins, and from there a tree as wide as links allow.
void tie(BuiltLevel& level, uint32_t first, const std::pair<uint32_t, uint32_t>* twins, size_t n) {
  const size_t degree = level.degree, children = degree - 1;
  uint32_t* const entrance = level.links.data() + degree * first;
  // where all places are taken, the last one holds the least of its links
  *std::find(entrance, entrance + degree - 1, kNone) = twins[0].second;
  for (size_t i = 0; i < n; i++) {
    uint32_t* const links = level.links.data() + degree * twins[i].second;
    links[0] = first;
    const size_t from = i * children + 1;
    for (size_t j = 0; j < children && from + j < n; j++) links[1 + j] = twins[from + j].second;
  }
}

}  // namespace

std::vector<uint32_t> first_twins(const uint8_t* codes, uint32_t count, uint32_t stride) {
  Keyed<uint64_t> sums(count);
  for (uint32_t row = 0; row < count; row++) sums[row] = {checksum(codes + size_t{stride} * row, stride, 0), row};
  std::sort(sums.begin(), sums.end());
  std::vector<uint32_t> firsts(count), known;
  for (size_t start = 0, end; start < count; start = end) {
    end = run_end(sums, start);
    known.clear();  // one, unless codes of equal checksum differ
    for (size_t i = start; i < end; i++) {
      const uint32_t row = sums[i].second;
      const auto same = std::find_if(known.begin(), known.end(), [&](uint32_t other) {
        return std::memcmp(codes + size_t{stride} * other, codes + size_t{stride} * row, stride) == 0;
      });
      firsts[row] = same != known.end() ? *same : row;
      if (same == known.end()) known.push_back(row);
    }
  }
  return firsts;
}

void tie_twins(BuiltLevel& level, const std::vector<uint32_t>& firsts) {
  Keyed<uint32_t> later;  // by first
  for (uint32_t row = 0; row < firsts.size(); row++) {
    if (firsts[row] != row) later.emplace_back(firsts[row], row);
  }
  std::sort(later.begin(), later.end());
  for (size_t start = 0, end; start < later.size(); start = end) {
    end = run_end(later, start);
    tie(level, later[start].first, later.data() + start, end - start);
  }
}

}  // namespace retrieval
