// What a search reads: plain pointers into one shard's files, shared by every thread and every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace retrieval {

constexpr uint32_t kNone = 0xffffffffu;  // ends a list of links
constexpr uint32_t kMaxRows = 1u << 30;  // an entry of a walk's candidate list has 30 bits for the row
constexpr uint32_t kMaxLevels = 32;
constexpr uint32_t kBlockRows = 16;

// Coordinates are 16-bit fixed point, x[d] = scale[d] * v[d], in two planes: the high byte (+128, so that it is
// unsigned) steers the walk, the low byte completes it for the final scores.
struct Level {
  const uint8_t* codes = nullptr;   // [count * stride] high bytes; the coordinates beyond dim are 128
  const uint32_t* links = nullptr;  // [count * degree] ordinals within this level, kNone after the last
  const uint32_t* below = nullptr;  // [count] ordinal of the same item one level down; not for level 0
  uint32_t count = 0;
  uint32_t degree = 0;
};

// Codes of consecutive rows. In blocks, one instruction multiplies and adds for sixteen rows: of every four coordinates
// in turn, those of all sixteen stand together. Coordinate d of a row is byte 4 * (16 * (d / 4) + row % 16) + d % 4 of
// block row / 16.
struct CodedRows {
  const uint8_t* codes = nullptr;   // [count * stride], or nullptr: in blocks only
  const uint8_t* blocks = nullptr;  // [block_bytes(count, stride)], or nullptr: row by row only
};

// Leaves: parts of the rows that lie near each other and stand together, each with a code for its centre. An index has
// these in place of links wherever they find as much.
struct Leaves {
  const uint8_t* centres = nullptr;  // in blocks
  const uint32_t* starts = nullptr;  // [count + 1] first row of each, ascending from 0 to the number of rows
  const uint8_t* blocks = nullptr;   // the codes of all rows in blocks
  uint32_t count = 0;                // 0: the rows are in no such order
  uint32_t rows_per_ef = 0;          // rows compared for one more of ef
};

struct GraphView {
  Level level[kMaxLevels];  // 0 holds every row, ordinal = row; the only one, without links, where there are leaves
  uint32_t levels = 0;      // how many of them there are; 0 in an empty graph
  uint32_t entry = 0;       // ordinal in the highest
  uint32_t dim = 0;
  uint32_t stride = 0;                 // dim rounded up to a multiple of 64
  const uint8_t* low_bytes = nullptr;  // [count * stride] low bytes of level 0
  const float* scales = nullptr;       // [stride], 0 beyond dim
  Leaves leaves;
};

// A query for comparisons with codes: `scaled` [stride] is query * scales, `code` [stride] is that rounded to 8 bits.
struct QueryCode {
  const int8_t* code = nullptr;
  const float* scaled = nullptr;
  float squares = 0.0f;  // of the coordinates of `code`, summed up
};

static inline uint32_t stride_of(uint32_t dim) { return (dim + 63) / 64 * 64; }
static inline size_t block_bytes(uint32_t count, uint32_t stride) {
  return (size_t{count} + kBlockRows - 1) / kBlockRows * kBlockRows * stride;
}

}  // namespace retrieval
