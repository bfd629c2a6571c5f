// Thousands of damaged index files, one after the other: each is refused, or (where whoever changed it made the
// checksums anew, and what changed is a link to another sound node) searched without harm.
//
//   damaged_files [rounds of random changes] [seed]
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "file/index_layout.h"
#include "runtime/errors.h"
#include "small_index.h"

using namespace retrieval;

namespace {

constexpr size_t kHeader = 4096;

struct Tally {
  uint64_t files = 0, refused = 0, searched = 0;
};

class Fuzz {
 public:
  Fuzz(const SmallIndex& index, const std::string& folder, uint64_t seed)
      : index_(index), searches_(index), path_(folder + "/changed"), random_(seed) {
    index.write_files(folder + "/graph.native", folder + "/graph.hnsw", 1);
    native_ = read(folder + "/graph.native");
    IndexFile(folder + "/graph.native").verify(index.vectors.data(), 1);
  }

  // Every 4 and 8 bytes of the header that hold something, and those around them, at the edges of what they may be.
  void header_fields() {
    for (size_t at = 0; at < 256; at += 4) {
      for (size_t width : {4, 8}) {
        if (at % width != 0) continue;
        uint64_t now = 0;
        std::memcpy(&now, native_.data() + at, width);
        for (uint64_t value : boundaries(now)) {
          for (bool resealed : {false, true}) {
            Bytes changed = native_;
            std::memcpy(changed.data() + at, &value, width);
            try_native(std::move(changed), resealed, !resealed);
          }
        }
      }
    }
  }

  void every_byte_of_the_header() {
    for (size_t at = 0; at < kHeader; at++) {
      Bytes changed = native_;
      changed[at] ^= static_cast<uint8_t>(1u << (random_() % 8));
      try_native(std::move(changed), false, true);
    }
  }

  void truncations() {
    for (size_t size = 0; size < native_.size(); size += size < 300 ? 1 : 97) {
      for (bool resealed : {false, true}) {
        Bytes shorter = native_;
        shorter.resize(size);
        try_native(std::move(shorter), resealed, true);
      }
    }
    Bytes longer = native_;
    longer.resize(longer.size() + 4096);
    try_native(longer, true, true);
  }

  // Bits anywhere; and numbers in place of whatever stands there, checksums made anew: links to nowhere, to the node
  // itself, to rows beyond the last, codes of other vectors.
  void random_changes(uint64_t rounds) {
    for (uint64_t i = 0; i < rounds; i++) {
      Bytes changed = native_;
      const size_t at = kHeader + random_() % (native_.size() - kHeader);
      changed[at] ^= static_cast<uint8_t>(1 + random_() % 255);
      try_native(std::move(changed), false, true);
      changed = native_;
      for (uint64_t n = 1 + random_() % 8; n > 0; n--) {
        const size_t word = kHeader / 4 + random_() % ((native_.size() - kHeader) / 4);
        uint32_t value = static_cast<uint32_t>(random_());
        if (random_() % 2 != 0) value %= 2 * index_.count;
        if (random_() % 8 == 0) value = kNone;
        std::memcpy(changed.data() + 4 * word, &value, sizeof value);
      }
      try_native(std::move(changed), true, false);
    }
  }

  const Tally& tally() const { return tally_; }

 private:
  std::vector<uint64_t> boundaries(uint64_t now) const {
    // clang-format off
    return {0, 1, 2, 3, now + 1, now - 1, 2 * now, now / 2, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
            kMaxRows, kMaxRows + 1, kMaxLevels, kMaxLevels + 1, 65536, 65537, 256, 257, ~uint64_t{0},
            index_.count, index_.count - 1, uint64_t{1} << 63};
    // clang-format on
  }

  // `must`: this change may not pass.
  void try_native(Bytes changed, bool resealed, bool must) {
    if (changed == native_) return;
    if (resealed && changed.size() >= kHeader) set_checksums(changed.data(), changed.size());
    write(path_, changed);
    tally_.files++;
    try {
      IndexFile file(path_);
      if (file.view().dim != index_.dim || (file.view().levels > 0 && file.view().level[0].count != index_.count)) {
        tally_.refused++;  // by whoever compares it with the metadata
        return;
      }
      const float* vectors = random_() % 8 != 0 ? index_.vectors.data() : nullptr;
      file.verify(file.view().levels > 0 ? vectors : nullptr, 1);
      if (must) fail("a changed index was taken for sound");
      Searcher searcher(file.view(), kernels());
      if (file.view().levels == 0) return;
      searches_.run(searcher, 1);
      tally_.searched++;
    } catch (const DamagedError&) {
      tally_.refused++;
    }
  }

  static void fail(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
  }

  const SmallIndex& index_;
  Searches searches_;
  std::string path_;
  std::mt19937_64 random_;
  Bytes native_;
  Tally tally_;
};

}  // namespace

int main(int argc, char** argv) {
  const uint64_t rounds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 3000;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const std::string folder = folder_of("damaged_files_");
  Tally all;
  for (const bool leafy : {false, true}) {
    const SmallIndex index(400, 24, 4, leafy, seed);
    Fuzz fuzz(index, folder, seed);
    fuzz.header_fields();
    fuzz.every_byte_of_the_header();
    fuzz.truncations();
    fuzz.random_changes(rounds);
    if (fuzz.tally().searched == 0) return 1;
    all.files += fuzz.tally().files;
    all.refused += fuzz.tally().refused;
    all.searched += fuzz.tally().searched;
  }
  std::filesystem::remove_all(folder);
  std::printf("files %llu refused %llu searched %llu\n", static_cast<unsigned long long>(all.files),
              static_cast<unsigned long long>(all.refused), static_cast<unsigned long long>(all.searched));
  return 0;
}
