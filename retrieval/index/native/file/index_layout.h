// graph.native: what a search reads, laid out to be mapped. Little-endian; sections begin at pages.
//
//   header       4096 bytes: magic, version, count, dim, m, levels, entry, nodes of each level, leaves, checksums
//   scales       float32 [stride]
//   per level    codes (high bytes) uint8 [n * stride]; links uint32 [n * degree]; above level 0, below uint32 [n]
//   leaves       centres uint8, in blocks; starts uint32 [leaves + 1]; codes of level 0 once more, in blocks
//   low bytes    uint8 [count * stride], of level 0
//
// A file with leaves has one level, whose nodes have no links.
// Where a section begins follows from the numbers in the header, so no offset in the file can lead astray.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graph/view.h"

namespace retrieval {

constexpr size_t kPage = 4096;
constexpr uint32_t kIndexVersion = 3;
constexpr char kIndexMagic[8] = {'R', 'T', 'V', 'L', 'W', 'A', 'L', 'K'};

struct IndexHeader {
  char magic[8];
  uint32_t version, count, dim, m, levels, entry;
  uint32_t nodes[kMaxLevels];
  uint32_t leaves, rows_per_ef;
  uint64_t file_bytes;
  uint64_t body_checksum;
  uint64_t header_checksum;  // of the page, with this field 0
};
static_assert(sizeof(IndexHeader) <= kPage);

// Where the sections begin, and the file ends, in bytes.
struct IndexSections {
  size_t scales, leaf_centres, leaf_starts, leaf_blocks, low_bytes, end;
  size_t codes[kMaxLevels], links[kMaxLevels], below[kMaxLevels];
};

// Links of a node of level `l`.
size_t degree_of(const IndexHeader& header, uint32_t l);

IndexSections sections_of(const IndexHeader& header);

// Of what follows the header.
uint64_t body_checksum(const uint8_t* file, size_t bytes, unsigned threads);

// Of the header's page, with its own checksum 0.
uint64_t header_checksum(const IndexHeader& header);

// The header with the checksums of a file of so many bytes; its own page is not read.
IndexHeader with_checksums(IndexHeader header, const uint8_t* file, size_t bytes);

// Sets the checksums of an index file in memory, of a header's page at least, to those of what it holds now.
void set_checksums(uint8_t* file, size_t bytes);

}  // namespace retrieval
