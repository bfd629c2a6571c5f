// The item ids of a shard, from rows to ids and from ids to rows, over arrays that are mapped from its files, not
// copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace retrieval {

// Texts one after another: text r is bytes[ends[r] .. ends[r + 1]).
struct Texts {
  const int32_t* ends = nullptr;  // [count + 1]
  const char* bytes = nullptr;    // [size]
  size_t size = 0;
  uint32_t count = 0;

  bool holds(uint32_t row) const {
    return row < count && ends[row] >= 0 && ends[row] <= ends[row + 1] && static_cast<size_t>(ends[row + 1]) <= size;
  }
  // Of a row that it holds.
  std::string_view at(uint32_t row) const {
    return {bytes + ends[row], static_cast<size_t>(ends[row + 1] - ends[row])};
  }
};

// The hash that items.lookup is sorted by: part of the format.
uint64_t id_hash(std::string_view id);

class ItemIds {
 public:
  // `hashes` [count], ascending, with the row of each in `rows` [count]. Both must outlive it, as the texts must.
  ItemIds(const Texts& texts, const uint64_t* hashes, const uint32_t* rows)
      : texts_(texts), hashes_(hashes), rows_(rows) {}

  const Texts& texts() const { return texts_; }

  // Appends the rows of those ids that the shard has, in the order of the ids. An id is found by its hash, and its
  // bytes tell it from others of the same hash; a damaged lookup can at most hide an id.
  void find(const std::string_view* ids, size_t n, std::vector<uint32_t>& found) const;

  // Checks that every text lies within the bytes, that the lookup is sorted by hash, then row, that every row stands
  // in it once and with the hash of its id, and that no id stands twice. Throws DamagedError: `texts_path` and
  // `lookup_path` name the files.
  void verify(const std::string& texts_path, const std::string& lookup_path) const;

 private:
  uint32_t first_at_least(uint64_t hash) const;

  Texts texts_;
  const uint64_t* hashes_;
  const uint32_t* rows_;
};

}  // namespace retrieval
