#include "file/hnsw_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "file/files.h"

namespace retrieval {
namespace {

struct Header {
  uint64_t offset_level0, max_elements, count, record_bytes, label_offset, vector_offset;
  int32_t max_level;
  uint32_t entry;
  uint64_t max_m, max_m0, m;
  double mult;
  uint64_t ef_construction;
};
static_assert(sizeof(Header) == 96);

constexpr size_t kBuffered = 8 << 20;

// Gathers small writes into large ones.
class Buffered {
 public:
  explicit Buffered(NewFile& file) : file_(file) { bytes_.reserve(kBuffered + (1 << 20)); }

  uint8_t* zeros(size_t n) {
    if (bytes_.size() >= kBuffered) flush();
    bytes_.resize(bytes_.size() + n, 0);
    return bytes_.data() + bytes_.size() - n;
  }
  void flush() {
    file_.write(bytes_.data(), bytes_.size());
    bytes_.clear();
  }

 private:
  NewFile& file_;
  std::vector<uint8_t> bytes_;
};

// A list as hnswlib keeps it: uint16 count, uint16 zero, then the links, zeros after the last. `rows`: of the level's
// nodes; empty where ordinals are rows.
void put_list(uint8_t* out, const Level& level, const std::vector<uint32_t>& rows, uint32_t ordinal) {
  const uint32_t* links = level.links + size_t{level.degree} * ordinal;
  uint16_t n = 0;
  for (; n < level.degree && links[n] != kNone; n++) {
    const uint32_t row = rows.empty() ? links[n] : rows[links[n]];
    std::memcpy(out + 4 + 4 * size_t{n}, &row, sizeof row);
  }
  std::memcpy(out, &n, sizeof n);
}

}  // namespace

void write_hnsw(const std::string& path, const GraphView& graph, uint32_t m, const float* vectors,
                uint32_t ef_construction) {
  const size_t list0 = 4 + 8 * size_t{m}, list = 4 + 4 * size_t{m}, vector = sizeof(float) * graph.dim;
  const uint32_t count = graph.levels > 0 ? graph.level[0].count : 0;
  std::vector<std::vector<uint32_t>> rows(std::max(1u, graph.levels));
  for (uint32_t l = 1; l < graph.levels; l++) {
    for (uint32_t i = 0; i < graph.level[l].count; i++) {
      const uint32_t below = graph.level[l].below[i];
      rows[l].push_back(l == 1 ? below : rows[l - 1][below]);
    }
  }
  Header header{};
  header.max_elements = header.count = count;
  header.vector_offset = list0;
  header.label_offset = list0 + vector;
  header.record_bytes = header.label_offset + sizeof(uint64_t);
  header.max_level = static_cast<int32_t>(graph.levels) - 1;
  header.entry = graph.levels == 0 ? kNone : graph.levels == 1 ? graph.entry : rows.back()[graph.entry];
  header.max_m = header.m = m;
  header.max_m0 = 2 * header.m;
  header.mult = 1.0 / std::log(static_cast<double>(m));
  header.ef_construction = std::max(ef_construction, m);
  NewFile file(path);
  Buffered out(file);
  std::memcpy(out.zeros(sizeof header), &header, sizeof header);
  for (uint64_t row = 0; row < count; row++) {
    uint8_t* const record = out.zeros(header.record_bytes);
    put_list(record, graph.level[0], rows[0], static_cast<uint32_t>(row));
    std::memcpy(record + header.vector_offset, vectors + size_t{graph.dim} * row, vector);
    std::memcpy(record + header.label_offset, &row, sizeof row);
  }
  std::vector<uint32_t> at(graph.levels, 0);  // the next ordinal of each level: rows come in order in all of them
  for (uint32_t row = 0; row < count; row++) {
    uint32_t levels = 0;
    while (levels + 1 < graph.levels && at[levels + 1] < rows[levels + 1].size() &&
           rows[levels + 1][at[levels + 1]] == row) {
      levels++;
    }
    const uint32_t bytes = static_cast<uint32_t>(list * levels);
    std::memcpy(out.zeros(sizeof bytes), &bytes, sizeof bytes);
    for (uint32_t l = 1; l <= levels; l++) put_list(out.zeros(list), graph.level[l], rows[l], at[l]++);
  }
  out.flush();
  file.close();
}

}  // namespace retrieval
