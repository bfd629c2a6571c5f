#include "file/index_layout.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "runtime/checksum.h"
#include "runtime/thread_pool.h"

static_assert(std::endian::native == std::endian::little, "files are mapped as they are");

namespace retrieval {
namespace {

constexpr size_t kSummedAtOnce = 1 << 20;

}  // namespace

size_t degree_of(const IndexHeader& header, uint32_t l) {
  if (header.leaves > 0) return 0;
  return l == 0 ? 2 * size_t{header.m} : header.m;
}

IndexSections sections_of(const IndexHeader& header) {
  IndexSections found{};
  size_t at = kPage;
  const size_t stride = stride_of(header.dim);
  const auto next = [&at](size_t bytes) {
    const size_t here = at;
    at = (at + bytes + kPage - 1) / kPage * kPage;
    return here;
  };
  found.scales = next(stride * sizeof(float));
  for (uint32_t l = 0; l < header.levels; l++) {
    found.codes[l] = next(header.nodes[l] * stride);
    found.links[l] = next(header.nodes[l] * degree_of(header, l) * sizeof(uint32_t));
    if (l > 0) found.below[l] = next(header.nodes[l] * sizeof(uint32_t));
  }
  found.leaf_centres = next(block_bytes(header.leaves, stride_of(header.dim)));
  found.leaf_starts = next((size_t{header.leaves} + 1) * sizeof(uint32_t));
  found.leaf_blocks = next(header.leaves > 0 ? block_bytes(header.count, stride_of(header.dim)) : 0);
  found.low_bytes = next(header.count * stride);
  found.end = at;
  return found;
}

uint64_t body_checksum(const uint8_t* file, size_t bytes, unsigned threads) {
  const size_t blocks = (bytes - kPage + kSummedAtOnce - 1) / kSummedAtOnce;
  std::vector<uint64_t> sums(blocks);
  ThreadPool::shared().run(blocks, threads, [&](size_t block) {
    const size_t start = kPage + block * kSummedAtOnce;
    sums[block] = checksum(file + start, std::min(kSummedAtOnce, bytes - start), block);
  });
  return checksum(reinterpret_cast<const uint8_t*>(sums.data()), sums.size() * sizeof(uint64_t), blocks);
}

uint64_t header_checksum(const IndexHeader& header) {
  uint8_t page[kPage] = {};
  std::memcpy(page, &header, sizeof header);
  std::memset(page + offsetof(IndexHeader, header_checksum), 0, sizeof header.header_checksum);
  return checksum(page, kPage, kIndexVersion);
}

IndexHeader with_checksums(IndexHeader header, const uint8_t* file, size_t bytes) {
  header.body_checksum = body_checksum(file, bytes, ThreadPool::cores());
  header.header_checksum = header_checksum(header);
  return header;
}

void set_checksums(uint8_t* file, size_t bytes) {
  IndexHeader header;
  std::memcpy(&header, file, sizeof header);
  header = with_checksums(header, file, bytes);
  std::memcpy(file, &header, sizeof header);
}

}  // namespace retrieval
