// A pool of threads that lives as long as the process: work is cut into pieces that idle threads take.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace retrieval {

class ThreadPool {
 public:
  ~ThreadPool();

  // Calls work(piece) for every piece of [0, pieces), on at most `threads` threads, the caller's being one of them.
  // Returns when all are done; throws what a piece threw. Several callers may run at a time.
  void run(size_t pieces, unsigned threads, const std::function<void(size_t)>& work);

  static unsigned cores();
  static ThreadPool& shared();

 private:
  struct Job;
  void serve();
  void grow(unsigned threads);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job*> waiting_;
  std::vector<std::thread> threads_;
  bool stopping_ = false;
};

}  // namespace retrieval
