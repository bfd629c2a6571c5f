// An index file, mapped (index_layout.h says how it is laid out).
#pragma once

#include <cstdint>
#include <string>

#include "file/files.h"
#include "graph/view.h"

namespace retrieval {

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
  std::string path_;
  MappedFile file_;
  GraphView view_;
  uint32_t m_ = 0;
};

}  // namespace retrieval
