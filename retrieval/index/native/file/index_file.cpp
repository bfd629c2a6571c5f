#include "file/index_file.h"

#include <cstring>

#include "file/index_layout.h"
#include "file/verify_index.h"
#include "runtime/errors.h"

namespace retrieval {
namespace {

constexpr uint32_t kMaxRowsPerEf = 1 << 16;

std::string text(uint64_t number) { return std::to_string(number); }

bool is_possible(const IndexHeader& header) {
  if (header.count > kMaxRows || header.dim < 1 || header.dim > 65536 || header.m < 2 || header.m > 256) return false;
  if (header.levels > kMaxLevels || (header.levels > 0) != (header.count > 0)) return false;
  if (header.leaves > header.count || header.rows_per_ef > kMaxRowsPerEf) return false;
  if ((header.leaves > 0) != (header.rows_per_ef > 0) || (header.leaves > 0 && header.levels != 1)) return false;
  return header.levels == 0 || (header.nodes[0] == header.count && header.entry < header.nodes[header.levels - 1]);
}

// The header of a mapped file. Throws DamagedError unless every number in it is possible and the file has the size that
// these make.
IndexHeader checked_header(const std::string& path, const MappedFile& file) {
  if (file.size() < kPage) {
    throw DamagedError(path + ": " + text(file.size()) + " bytes, too few for a header: truncated");
  }
  IndexHeader header;
  std::memcpy(&header, file.data(), sizeof header);
  if (std::memcmp(header.magic, kIndexMagic, sizeof kIndexMagic) != 0)
    throw DamagedError(path + ": not a file of this kind");
  if (header.version != kIndexVersion) {
    throw DamagedError(path + ": format " + text(header.version) + ", this program reads " + text(kIndexVersion));
  }
  bool zeros = true;
  for (size_t j = sizeof header; j < kPage; j++) zeros = zeros && file.data()[j] == 0;
  if (header.header_checksum != header_checksum(header) || !zeros) throw DamagedError(path + ": its header is damaged");
  if (!is_possible(header)) throw DamagedError(path + ": its header is impossible: damaged");
  for (uint32_t l = 1; l < header.levels; l++) {
    if (header.nodes[l] == 0 || header.nodes[l] > header.nodes[l - 1]) {
      throw DamagedError(path + ": level " + text(l) + " has " + text(header.nodes[l]) + " nodes, the one below it " +
                         text(header.nodes[l - 1]) + ": damaged");
    }
  }
  const size_t end = sections_of(header).end;
  if (file.size() != end || header.file_bytes != end) {
    throw DamagedError(path + ": " + text(file.size()) + " bytes, expected " + text(end) + ": damaged");
  }
  return header;
}

}  // namespace

IndexFile::IndexFile(const std::string& path) : path_(path), file_(path) {
  const IndexHeader header = checked_header(path, file_);
  const IndexSections at = sections_of(header);
  const uint8_t* const data = file_.data();
  m_ = header.m;
  view_.levels = header.levels;
  view_.entry = header.entry;
  view_.dim = header.dim;
  view_.stride = stride_of(header.dim);
  view_.leaves = {data + at.leaf_centres, reinterpret_cast<const uint32_t*>(data + at.leaf_starts),
                  header.leaves > 0 ? data + at.leaf_blocks : nullptr, header.leaves, header.rows_per_ef};
  view_.low_bytes = data + at.low_bytes;
  view_.scales = reinterpret_cast<const float*>(data + at.scales);
  for (uint32_t l = 0; l < header.levels; l++) {
    view_.level[l].codes = data + at.codes[l];
    view_.level[l].links = reinterpret_cast<const uint32_t*>(data + at.links[l]);
    view_.level[l].below = l > 0 ? reinterpret_cast<const uint32_t*>(data + at.below[l]) : nullptr;
    view_.level[l].count = header.nodes[l];
    view_.level[l].degree = static_cast<uint32_t>(degree_of(header, l));
  }
}

void IndexFile::verify(const float* vectors, unsigned threads) const {
  IndexHeader header;
  std::memcpy(&header, file_.data(), sizeof header);
  if (body_checksum(file_.data(), file_.size(), threads) != header.body_checksum) {
    throw DamagedError(path_ + ": its checksum is not the recorded one: damaged");
  }
  verify_view(path_, view_, vectors, threads);
}

}  // namespace retrieval
