// graph.native: what a search reads, laid out to be mapped. Little-endian; sections begin at pages.
//
//   header       4096 bytes: magic, version, count, dim, m, levels, entry, nodes of each level, leaves, checksums
//   scales       float32 [stride]
//   per level    codes uint8 [n * stride]; links uint32 [n * degree]; above level 0, below uint32 [n]
//   leaves       centres uint8, in blocks; starts uint32 [leaves + 1]; codes of level 0 once more, in blocks
//   rest         uint8 [count * stride]
//
// A file with leaves has one level, whose nodes have no links.
// Where a section begins follows from the numbers in the header, so no offset in the file can lead astray.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "file/files.h"
#include "graph/graph.h"
#include "graph/view.h"

namespace retrieval {

void write_index(const std::string& path, const Graph& graph);

// Sets the checksums of an index file in memory, of a header's 4096 bytes at least, to what its content has now.
void seal(uint8_t* file, size_t bytes);

class IndexFile {
 public:
  // Maps the file and checks its header and size: milliseconds, whatever the count. Throws DamagedError or
  // UnreachableError.
  explicit IndexFile(const std::string& path);

  const GraphView& view() const { return view_; }
  uint32_t m() const { return m_; }
  size_t bytes() const { return file_.size(); }

  // Checks all that a search would follow, the checksum of every byte and, where `vectors` [count * dim] are given,
  // that the codes are theirs. Throws DamagedError.
  void verify(const float* vectors, unsigned threads) const;

 private:
  void check_level(uint32_t l, unsigned threads) const;
  void check_leaves() const;
  void check_codes(const float* vectors, unsigned threads) const;

  std::string path_;
  MappedFile file_;
  GraphView view_;
  uint32_t m_ = 0;
};

}  // namespace retrieval
