#include "file/write_index.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "file/files.h"
#include "file/index_layout.h"
#include "runtime/errors.h"

namespace retrieval {
namespace {

IndexHeader header_of(const Graph& graph) {
  IndexHeader header{};
  std::memcpy(header.magic, kIndexMagic, sizeof kIndexMagic);
  header.version = kIndexVersion;
  header.count = graph.count;
  header.dim = graph.dim;
  header.m = graph.m;
  header.leaves = graph.leaves();
  header.rows_per_ef = graph.rows_per_ef;
  header.levels = header.leaves > 0 ? 1 : static_cast<uint32_t>(graph.levels.size());
  header.entry = header.leaves > 0 ? 0 : graph.entry;
  for (uint32_t l = 0; l < header.levels; l++) header.nodes[l] = static_cast<uint32_t>(graph.levels[l].rows.size());
  header.file_bytes = sections_of(header).end;
  return header;
}

void write_sections(NewFile& out, const IndexHeader& header, const Graph& graph) {
  const IndexSections at = sections_of(header);
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
  out.pad_to(at.low_bytes);
  out.write(graph.low_bytes.data(), graph.low_bytes.size());
  out.pad_to(at.end);
}

}  // namespace

// Checksums are those of what is read back, so that a write that went wrong does not pass for sound.
void write_index(const std::string& path, const Graph& graph) {
  IndexHeader header = header_of(graph);
  NewFile out(path);
  write_sections(out, header, graph);
  out.close();
  const MappedFile written(path);
  if (written.size() != header.file_bytes) {
    throw UnreachableError(path + ": " + std::to_string(written.size()) + " bytes of " +
                           std::to_string(header.file_bytes));
  }
  header = with_checksums(header, written.data(), written.size());
  set_start(path, &header, sizeof header);
}

}  // namespace retrieval
