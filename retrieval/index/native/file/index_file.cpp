#include "file/index_file.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "graph/codes.h"
#include "runtime/checksum.h"
#include "runtime/errors.h"
#include "runtime/thread_pool.h"

static_assert(std::endian::native == std::endian::little, "files are mapped as they are");

namespace retrieval {
namespace {

constexpr size_t kPage = 4096;
constexpr uint32_t kVersion = 3;
constexpr char kMagic[8] = {'R', 'T', 'V', 'L', 'W', 'A', 'L', 'K'};
constexpr size_t kSummedAtOnce = 1 << 20;
constexpr uint32_t kCheckedAtOnce = 4096;  // rows; a multiple of a block's
constexpr uint32_t kMaxRowsPerEf = 1 << 16;

struct Header {
  char magic[8];
  uint32_t version, count, dim, m, levels, entry;
  uint32_t nodes[kMaxLevels];
  uint32_t leaves, rows_per_ef;
  uint64_t file_bytes;
  uint64_t body_checksum;
  uint64_t header_checksum;  // of the page, with this field 0
};
static_assert(sizeof(Header) <= kPage);

struct Sections {
  size_t scales, leaf_centres, leaf_starts, leaf_blocks, rest, end;
  size_t codes[kMaxLevels], links[kMaxLevels], below[kMaxLevels];
};

size_t degree_of(const Header& header, uint32_t l) {
  if (header.leaves > 0) return 0;
  return l == 0 ? 2 * size_t{header.m} : header.m;
}

Sections sections_of(const Header& header) {
  Sections found{};
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
  found.rest = next(header.count * stride);
  found.end = at;
  return found;
}

uint64_t body_checksum(const uint8_t* data, size_t bytes, unsigned threads) {
  const size_t blocks = (bytes - kPage + kSummedAtOnce - 1) / kSummedAtOnce;
  std::vector<uint64_t> sums(blocks);
  ThreadPool::shared().run(blocks, threads, [&](size_t block) {
    const size_t start = kPage + block * kSummedAtOnce;
    sums[block] = checksum(data + start, std::min(kSummedAtOnce, bytes - start), block);
  });
  return checksum(reinterpret_cast<const uint8_t*>(sums.data()), sums.size() * sizeof(uint64_t), blocks);
}

uint64_t page_checksum(const Header& header) {
  uint8_t page[kPage] = {};
  std::memcpy(page, &header, sizeof header);
  std::memset(page + offsetof(Header, header_checksum), 0, sizeof header.header_checksum);
  return checksum(page, kPage, kVersion);
}

Header sealed(Header header, const uint8_t* file, size_t bytes) {
  header.body_checksum = body_checksum(file, bytes, ThreadPool::cores());
  header.header_checksum = page_checksum(header);
  return header;
}

std::string text(uint64_t number) { return std::to_string(number); }

}  // namespace

void write_index(const std::string& path, const Graph& graph) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.count = graph.count;
  header.dim = graph.dim;
  header.m = graph.m;
  header.leaves = graph.leaves();
  header.rows_per_ef = graph.rows_per_ef;
  header.levels = header.leaves > 0 ? 1 : static_cast<uint32_t>(graph.levels.size());
  header.entry = header.leaves > 0 ? 0 : graph.entry;
  for (uint32_t l = 0; l < header.levels; l++) header.nodes[l] = static_cast<uint32_t>(graph.levels[l].rows.size());
  const Sections at = sections_of(header);
  header.file_bytes = at.end;
  {
    NewFile out(path);
    out.pad_to(kPage);
    std::vector<float> scales(stride_of(graph.dim), 0.0f);
    std::copy(graph.scales.begin(), graph.scales.end(), scales.begin());
    out.write(scales.data(), scales.size() * sizeof(float));
    for (uint32_t l = 0; l < header.levels; l++) {
      const GraphLevel& level = graph.levels[l];
      out.pad_to(at.codes[l]);
      out.write(level.codes.data(), level.codes.size());
      out.pad_to(at.links[l]);
      out.write(level.links.data(), level.rows.size() * degree_of(header, l) * sizeof(uint32_t));
      if (l == 0) continue;
      out.pad_to(at.below[l]);
      out.write(level.below.data(), level.below.size() * sizeof(uint32_t));
    }
    out.pad_to(at.leaf_centres);
    out.write(graph.leaf_centres.data(), graph.leaf_centres.size());
    out.pad_to(at.leaf_starts);
    out.write(graph.leaf_starts.data(), graph.leaf_starts.size() * sizeof(uint32_t));
    out.pad_to(at.leaf_blocks);
    out.write(graph.leaf_blocks.data(), graph.leaf_blocks.size());
    out.pad_to(at.rest);
    out.write(graph.rest.data(), graph.rest.size());
    out.pad_to(at.end);
    out.close();
  }
  {
    const MappedFile written(path);
    if (written.size() != at.end)
      throw UnreachableError(path + ": " + text(written.size()) + " bytes of " + text(at.end));
    header = sealed(header, written.data(), written.size());
  }
  set_start(path, &header, sizeof header);
}

void seal(uint8_t* file, size_t bytes) {
  Header header;
  std::memcpy(&header, file, sizeof header);
  header = sealed(header, file, bytes);
  std::memcpy(file, &header, sizeof header);
}

IndexFile::IndexFile(const std::string& path) : path_(path), file_(path) {
  if (file_.size() < kPage)
    throw DamagedError(path + ": " + text(file_.size()) + " bytes, too few for a header: truncated");
  Header header;
  std::memcpy(&header, file_.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) throw DamagedError(path + ": not a file of this kind");
  if (header.version != kVersion) {
    throw DamagedError(path + ": format " + text(header.version) + ", this program reads " + text(kVersion));
  }
  bool zeros = true;
  for (size_t j = sizeof header; j < kPage; j++) zeros = zeros && file_.data()[j] == 0;
  if (header.header_checksum != page_checksum(header) || !zeros) throw DamagedError(path + ": its header is damaged");
  const bool possible =
      header.count <= kMaxRows && header.dim >= 1 && header.dim <= 65536 && header.m >= 2 && header.m <= 256 &&
      header.levels <= kMaxLevels && (header.levels > 0) == (header.count > 0) && header.leaves <= header.count &&
      header.rows_per_ef <= kMaxRowsPerEf && (header.leaves > 0) == (header.rows_per_ef > 0) &&
      (header.leaves == 0 || header.levels == 1) &&
      (header.levels == 0 || (header.nodes[0] == header.count && header.entry < header.nodes[header.levels - 1]));
  if (!possible) throw DamagedError(path + ": its header is impossible: damaged");
  for (uint32_t l = 1; l < header.levels; l++) {
    if (header.nodes[l] == 0 || header.nodes[l] > header.nodes[l - 1]) {
      throw DamagedError(path + ": level " + text(l) + " has " + text(header.nodes[l]) + " nodes, the one below it " +
                         text(header.nodes[l - 1]) + ": damaged");
    }
  }
  const Sections at = sections_of(header);
  if (file_.size() != at.end || header.file_bytes != at.end) {
    throw DamagedError(path + ": " + text(file_.size()) + " bytes, expected " + text(at.end) + ": damaged");
  }
  const uint8_t* const data = file_.data();
  m_ = header.m;
  view_.levels = header.levels;
  view_.entry = header.entry;
  view_.dim = header.dim;
  view_.stride = stride_of(header.dim);
  view_.leaves = {data + at.leaf_centres, reinterpret_cast<const uint32_t*>(data + at.leaf_starts),
                  header.leaves > 0 ? data + at.leaf_blocks : nullptr, header.leaves, header.rows_per_ef};
  view_.rest = data + at.rest;
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
  Header header;
  std::memcpy(&header, file_.data(), sizeof header);
  if (body_checksum(file_.data(), file_.size(), threads) != header.body_checksum) {
    throw DamagedError(path_ + ": its checksum is not the recorded one: damaged");
  }
  for (uint32_t d = 0; d < view_.stride; d++) {
    const float scale = view_.scales[d];
    if (!std::isfinite(scale) || scale < 0 || (d >= view_.dim && scale != 0)) {
      throw DamagedError(path_ + ": the scale of coordinate " + text(d) + " is impossible: damaged");
    }
  }
  for (uint32_t l = 0; l < view_.levels; l++) check_level(l, threads);
  check_leaves();
  check_codes(vectors, threads);
}

void IndexFile::check_level(uint32_t l, unsigned threads) const {
  const Level& level = view_.level[l];
  std::atomic<uint64_t> wrong{level.count};
  ThreadPool::shared().run((level.count + kCheckedAtOnce - 1) / kCheckedAtOnce, threads, [&](size_t block) {
    const uint32_t first = static_cast<uint32_t>(block) * kCheckedAtOnce;
    const uint32_t last = std::min(level.count, first + kCheckedAtOnce);
    for (uint32_t node = first; node < last; node++) {
      const uint32_t* links = level.links + size_t{level.degree} * node;
      bool sound = true, ended = false;
      for (uint32_t j = 0; j < level.degree; j++) {
        ended = ended || links[j] == kNone;
        sound = sound && (ended ? links[j] == kNone : links[j] < level.count && links[j] != node);
      }
      if (l > 0) {
        const Level& lower = view_.level[l - 1];
        sound = sound && level.below[node] < lower.count && (node == 0 || level.below[node - 1] < level.below[node]) &&
                std::memcmp(level.codes + size_t{view_.stride} * node,
                            lower.codes + size_t{view_.stride} * level.below[node], view_.stride) == 0;
      }
      uint64_t seen = wrong.load();
      while (!sound && node < seen && !wrong.compare_exchange_weak(seen, node)) {
      }
    }
  });
  if (wrong.load() < level.count) {
    throw DamagedError(path_ + ": node " + text(wrong.load()) + " of level " + text(l) +
                       " has links or codes that are impossible: damaged");
  }
}

void IndexFile::check_leaves() const {
  const Leaves& leaves = view_.leaves;
  bool sound = leaves.starts[0] == 0;
  for (uint32_t l = 0; l < leaves.count; l++) sound = sound && leaves.starts[l] <= leaves.starts[l + 1];
  const uint32_t count = view_.levels > 0 ? view_.level[0].count : 0;
  if (!sound || (leaves.count > 0 && leaves.starts[leaves.count] != count)) {
    throw DamagedError(path_ + ": its leaves do not cover the rows: damaged");
  }
}

void IndexFile::check_codes(const float* vectors, unsigned threads) const {
  if (view_.levels == 0) return;
  const uint32_t count = view_.level[0].count, stride = view_.stride;
  std::atomic<bool> sound{true};
  ThreadPool::shared().run((count + kCheckedAtOnce - 1) / kCheckedAtOnce, threads, [&](size_t block) {
    const uint32_t first = static_cast<uint32_t>(block) * kCheckedAtOnce;
    const uint32_t n = std::min(count, first + kCheckedAtOnce) - first;
    const uint8_t* high = view_.level[0].codes + size_t{stride} * first;
    const uint8_t* low = view_.rest + size_t{stride} * first;
    bool right = true;
    if (vectors != nullptr) {
      std::vector<uint8_t> planes(2 * size_t{stride} * n);
      encode(vectors + size_t{view_.dim} * first, 0, n, view_.dim, view_.scales, planes.data(),
             planes.data() + size_t{stride} * n);
      right = std::memcmp(planes.data(), high, size_t{stride} * n) == 0 &&
              std::memcmp(planes.data() + size_t{stride} * n, low, size_t{stride} * n) == 0;
    } else {
      for (uint32_t row = 0; row < n; row++) {
        for (uint32_t d = view_.dim; d < stride; d++) {
          right = right && high[size_t{stride} * row + d] == 128 && low[size_t{stride} * row + d] == 0;
        }
      }
    }
    if (view_.leaves.blocks != nullptr) {
      std::vector<uint8_t> blocks(block_bytes(n, stride));
      into_blocks(high, n, stride, blocks.data());
      right = right && std::memcmp(blocks.data(), view_.leaves.blocks + size_t{stride} * first, blocks.size()) == 0;
    }
    if (!right) sound = false;
  });
  if (!sound) throw DamagedError(path_ + ": its codes are not those of the vectors: damaged or swapped");
}

}  // namespace retrieval
