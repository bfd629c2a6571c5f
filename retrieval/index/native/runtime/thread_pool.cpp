#include "runtime/thread_pool.h"

#include <algorithm>
#include <exception>

namespace retrieval {

struct ThreadPool::Job {
  const std::function<void(size_t)>* work;
  size_t pieces;
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by the one who sets `failed`
  unsigned places;           // how many more threads may join; guarded by the pool's mutex
  unsigned inside = 0;       // how many have joined and not left; guarded by the pool's mutex
  std::condition_variable left;

  void take() {
    for (;;) {
      const size_t piece = next.fetch_add(1);
      if (piece >= pieces || failed.load()) return;
      try {
        (*work)(piece);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
  }
};

unsigned ThreadPool::cores() { return std::max(1u, std::thread::hardware_concurrency()); }

ThreadPool& ThreadPool::shared() {
  // Never destroyed: threads of an ending process may still be waiting in it
  static ThreadPool* const all = new ThreadPool;
  return *all;
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::grow(unsigned threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  while (threads_.size() < threads) threads_.emplace_back([this] { serve(); });
}

void ThreadPool::serve() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    Job* const job = waiting_.back();
    job->inside++;
    if (--job->places == 0) waiting_.pop_back();
    lock.unlock();
    job->take();
    lock.lock();
    if (--job->inside == 0) job->left.notify_all();
  }
}

void ThreadPool::run(size_t pieces, unsigned threads, const std::function<void(size_t)>& work) {
  const unsigned others =
      static_cast<unsigned>(std::min<size_t>(threads, pieces)) - (pieces > 0 && threads > 0 ? 1 : 0);
  if (others == 0 || pieces <= 1) {
    for (size_t piece = 0; piece < pieces; piece++) work(piece);
    return;
  }
  grow(others);
  Job job{};
  job.work = &work;
  job.pieces = pieces;
  job.places = others;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_back(&job);
  }
  wake_.notify_all();
  job.take();
  std::unique_lock<std::mutex> lock(mutex_);
  waiting_.erase(std::remove(waiting_.begin(), waiting_.end(), &job), waiting_.end());
  job.left.wait(lock, [&job] { return job.inside == 0; });
  if (job.failed.load()) std::rethrow_exception(job.error);
}

}  // namespace retrieval
