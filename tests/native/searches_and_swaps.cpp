// Threads search while others open, verify and calibrate new indexes and swap them in: no data race (for
// ThreadSanitizer to see), and every answer is that of the index it was asked of.
//
//   searches_and_swaps [swaps]
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "small_index.h"

using namespace retrieval;

namespace {

// Searches that have their plan given; that of others depends on what was timed.
constexpr size_t kPlanned[] = {0, 1, 8, 9, 10};

struct Opened {
  size_t which;
  IndexFile file;
  Searcher searcher;

  Opened(size_t which, const std::string& path) : which(which), file(path), searcher(file.view(), kernels()) {}
};

class Serving {
 public:
  std::shared_ptr<Opened> now() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return now_;
  }
  void swap(std::shared_ptr<Opened> next) {
    const std::lock_guard<std::mutex> lock(mutex_);
    now_.swap(next);
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<Opened> now_;
};

std::shared_ptr<Opened> opened(size_t which, const std::string& path, const SmallIndex& index) {
  auto made = std::make_shared<Opened>(which, path);
  made->file.verify(index.vectors.data(), 2);
  made->searcher.calibrate(kEf);
  return made;
}

}  // namespace

int main(int argc, char** argv) {
  const int swaps = argc > 1 ? static_cast<int>(std::strtol(argv[1], nullptr, 10)) : 30;
  const std::string folder = folder_of("searches_and_swaps_");
  std::vector<SmallIndex> indexes;
  for (const bool leafy : {true, false}) indexes.emplace_back(600, 24, 6, leafy, leafy ? 1 : 2);
  std::vector<std::string> paths;
  std::vector<std::vector<Hits>> right;
  std::vector<Searches> searches(indexes.begin(), indexes.end());
  for (size_t i = 0; i < indexes.size(); i++) {
    paths.push_back(folder + "/native" + std::to_string(i));
    indexes[i].write_files(paths[i], folder + "/hnsw", 2);
    right.push_back(searches[i].run(opened(i, paths[i], indexes[i])->searcher, 1));
  }
  for (const char* name : {"avx512", "avx2", "portable"}) {
    const Kernels* const others = kernels_named(name);
    for (size_t i = 0; others != nullptr && i < indexes.size(); i++) {
      const IndexFile file(paths[i]);
      Searcher searcher(file.view(), *others);
      const std::vector<Hits> answers = searches[i].run(searcher, 1);
      for (size_t query : kPlanned) {
        if (answers[query].rows == right[i][query].rows) continue;
        std::fprintf(stderr, "%s answers otherwise than %s\n", name, kernels().name);
        return 1;
      }
    }
  }
  Serving serving;
  serving.swap(opened(0, paths[0], indexes[0]));
  std::atomic<bool> done{false};
  std::atomic<uint64_t> asked{0}, wrong{0};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (unsigned t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      while (!done) {
        const std::shared_ptr<Opened> held = serving.now();
        const std::vector<Hits> answers = searches[held->which].run(held->searcher, 1 + t % 3);
        for (size_t i : kPlanned) wrong += answers[i].rows != right[held->which][i].rows;
        asked++;
      }
    });
  }
  for (int i = 0; i < swaps; i++) {
    const size_t which = static_cast<size_t>(i + 1) % indexes.size();
    serving.swap(opened(which, paths[which], indexes[which]));
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  std::filesystem::remove_all(folder);
  std::printf("swaps %d asked %llu wrong %llu\n", swaps, static_cast<unsigned long long>(asked.load()),
              static_cast<unsigned long long>(wrong.load()));
  return wrong == 0 && asked > 0 ? 0 : 1;
}
