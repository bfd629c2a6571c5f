// A graph as data: what its build makes and its file is written from.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "graph/view.h"
#include "runtime/aligned.h"

namespace retrieval {

struct GraphLevel {
  std::vector<uint32_t> rows;     // the row of each ordinal, ascending
  std::vector<uint32_t> below;    // its ordinal one level down
  AlignedVector<uint8_t> codes;   // [count * stride]
  AlignedVector<uint32_t> links;  // [count * degree], kNone after the last
  uint32_t degree = 0;

  // The ordinal of the first row that is not before `row`.
  uint32_t ordinal_of(uint32_t row) const {
    return static_cast<uint32_t>(std::lower_bound(rows.begin(), rows.end(), row) - rows.begin());
  }
};

struct Graph {
  uint32_t count = 0, dim = 0, stride = 0, m = 0;
  std::vector<float> scales;            // [stride]
  AlignedVector<uint8_t> low_bytes;     // low bytes of level 0
  std::vector<GraphLevel> levels;       // 0 holds every row
  std::vector<uint32_t> first_equal;    // for each row the first one with the same code, itself where it is the first
  uint32_t entry = 0;                   // ordinal in the highest level
  AlignedVector<uint8_t> leaf_centres;  // of Leaves (view.h)
  std::vector<uint32_t> leaf_starts{0};
  AlignedVector<uint8_t> leaf_blocks;
  uint32_t rows_per_ef = 0;

  uint32_t leaves() const { return static_cast<uint32_t>(leaf_starts.size() - 1); }
  bool is_duplicate(uint32_t row) const { return first_equal[row] != row; }  // of an earlier row
  void drop_leaves();
  GraphView view() const;
};

}  // namespace retrieval
