#include "file/item_ids.h"

#include <algorithm>

#include "runtime/checksum.h"
#include "runtime/errors.h"

namespace retrieval {
namespace {

constexpr size_t kAtOnce = 32;        // ids looked up side by side, so that their cache misses overlap
constexpr uint32_t kFirstStep = 256;  // entries; about the error of a guessed position among a million

// Hashes are spread evenly, so that a hash says about where in the lookup it stands
uint32_t guess(uint64_t hash, uint32_t count) {
  return static_cast<uint32_t>(static_cast<unsigned __int128>(hash) * count >> 64);
}

}  // namespace

uint64_t id_hash(std::string_view id) { return checksum(reinterpret_cast<const uint8_t*>(id.data()), id.size(), 0); }

// Doubles the step away from the guess until the hash is enclosed: right for any sorted array, fast for even ones
uint32_t ItemIds::first_at_least(uint64_t hash) const {
  const uint32_t count = texts_.count, start = guess(hash, count);
  uint32_t low = start, high = start;
  for (uint64_t step = kFirstStep; low > 0 && hashes_[low] >= hash; step *= 2) {
    high = low;
    low = step < low ? low - static_cast<uint32_t>(step) : 0;
  }
  for (uint64_t step = kFirstStep; high < count && hashes_[high] < hash; step *= 2) {
    low = high;
    high = static_cast<uint32_t>(std::min<uint64_t>(count, high + step));
  }
  return static_cast<uint32_t>(std::lower_bound(hashes_ + low, hashes_ + high, hash) - hashes_);
}

void ItemIds::find(const std::string_view* ids, size_t n, std::vector<uint32_t>& found) const {
  const uint32_t count = texts_.count;
  if (count == 0) return;
  uint64_t hashes[kAtOnce];
  uint32_t at[kAtOnce];
  for (size_t start = 0; start < n; start += kAtOnce) {
    const size_t m = std::min(kAtOnce, n - start);
    for (size_t i = 0; i < m; i++) {
      hashes[i] = id_hash(ids[start + i]);
      __builtin_prefetch(hashes_ + guess(hashes[i], count));
    }
    for (size_t i = 0; i < m; i++) {
      at[i] = first_at_least(hashes[i]);
      __builtin_prefetch(rows_ + at[i]);
    }
    for (size_t i = 0; i < m; i++) {
      if (at[i] < count && hashes_[at[i]] == hashes[i] && rows_[at[i]] < count) {
        __builtin_prefetch(texts_.ends + rows_[at[i]]);
      }
    }
    for (size_t i = 0; i < m; i++) {
      for (uint32_t p = at[i]; p < count && hashes_[p] == hashes[i]; p++) {
        const uint32_t row = rows_[p];
        if (!texts_.holds(row) || texts_.at(row) != ids[start + i]) continue;
        found.push_back(row);
        break;
      }
    }
  }
}

void ItemIds::verify(const std::string& texts_path, const std::string& lookup_path) const {
  for (uint32_t row = 0; row < texts_.count; row++) {
    if (texts_.holds(row)) continue;
    throw DamagedError(texts_path + ": the id of row " + std::to_string(row) + " is out of bounds: damaged");
  }
  std::vector<bool> seen(texts_.count);
  for (uint32_t p = 0; p < texts_.count; p++) {
    const uint32_t row = rows_[p];
    const bool sorted = p == 0 || hashes_[p - 1] < hashes_[p] || (hashes_[p - 1] == hashes_[p] && rows_[p - 1] < row);
    if (!sorted || row >= texts_.count || seen[row] || id_hash(texts_.at(row)) != hashes_[p]) {
      throw DamagedError(lookup_path + ": entry " + std::to_string(p) + " does not fit " + texts_path +
                         ": damaged or swapped");
    }
    seen[row] = true;
    for (uint32_t q = p; q > 0 && hashes_[q - 1] == hashes_[p]; q--) {
      if (texts_.at(rows_[q - 1]) != texts_.at(row)) continue;
      throw DamagedError(texts_path + ": item '" + std::string(texts_.at(row)) + "' stands twice: damaged");
    }
  }
}

}  // namespace retrieval
