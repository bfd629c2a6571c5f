#include "hnsw_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "files.h"

namespace retrieval {
namespace {

struct Header {
  uint64_t offset_level0, max_elements, count, record_bytes, label_offset, vector_offset;
  int32_t max_level;
  uint32_t entry;
  uint64_t max_m, max_m0, m;
  double mult;
  uint64_t effort;
};
static_assert(sizeof(Header) == 96);

constexpr size_t kBuffered = 8 << 20;

// A list as hnswlib keeps it: uint16 count, uint16 zero, then the links, zeros after the last.
void put_list(uint8_t* out, const BuiltLevel& level, uint32_t ordinal) {
  const uint32_t* links = level.links.data() + size_t{level.degree} * ordinal;
  uint16_t n = 0;
  for (; n < level.degree && links[n] != kNone; n++) {
    const uint32_t row = level.rows[links[n]];
    std::memcpy(out + 4 + 4 * size_t{n}, &row, sizeof row);
  }
  std::memcpy(out, &n, sizeof n);
}

class Buffered {
 public:
  explicit Buffered(NewFile& out) : out_(out) { bytes_.reserve(kBuffered + (1 << 20)); }
  ~Buffered() = default;

  uint8_t* zeros(size_t n) {
    if (bytes_.size() >= kBuffered) flush();
    bytes_.resize(bytes_.size() + n, 0);
    return bytes_.data() + bytes_.size() - n;
  }
  void flush() {
    out_.write(bytes_.data(), bytes_.size());
    bytes_.clear();
  }

 private:
  NewFile& out_;
  std::vector<uint8_t> bytes_;
};

}  // namespace

void write_hnsw(const std::string& path, const BuiltGraph& graph, const float* vectors, uint32_t effort) {
  const uint32_t m = graph.m;
  const size_t list0 = 4 + 4 * 2 * size_t{m}, list = 4 + 4 * size_t{m}, vector = sizeof(float) * graph.dim;
  Header header{};
  header.max_elements = header.count = graph.count;
  header.vector_offset = list0;
  header.label_offset = list0 + vector;
  header.record_bytes = header.label_offset + sizeof(uint64_t);
  header.max_level = static_cast<int32_t>(graph.level.size()) - 1;
  header.entry = graph.level.empty() ? kNone : graph.level.back().rows[graph.entry];
  header.max_m = header.m = m;
  header.max_m0 = 2 * m;
  header.mult = 1.0 / std::log(static_cast<double>(m));
  header.effort = std::max(effort, m);
  NewFile out(path);
  out.write(&header, sizeof header);
  Buffered buffer(out);
  for (uint64_t row = 0; row < graph.count; row++) {
    uint8_t* const record = buffer.zeros(header.record_bytes);
    put_list(record, graph.level[0], static_cast<uint32_t>(row));
    std::memcpy(record + header.vector_offset, vectors + size_t{graph.dim} * row, vector);
    std::memcpy(record + header.label_offset, &row, sizeof row);
  }
  std::vector<size_t> at(graph.level.size(), 0);  // the next ordinal of each level: rows come in order in all of them
  for (uint32_t row = 0; row < graph.count; row++) {
    uint32_t levels = 0;
    while (levels + 1 < graph.level.size() && at[levels + 1] < graph.level[levels + 1].rows.size() &&
           graph.level[levels + 1].rows[at[levels + 1]] == row) {
      levels++;
    }
    const uint32_t bytes = static_cast<uint32_t>(list * levels);
    std::memcpy(buffer.zeros(sizeof bytes), &bytes, sizeof bytes);
    for (uint32_t l = 1; l <= levels; l++) put_list(buffer.zeros(list), graph.level[l], static_cast<uint32_t>(at[l]++));
  }
  buffer.flush();
  out.close();
}

}  // namespace retrieval
