// Memory that is used again: as many pieces as are in use at a time, not as there are threads.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace retrieval {

template <class T>
class ScratchPool {
 public:
  // A piece of scratch memory for as long as this object lives.
  class Lease {
   public:
    Lease(ScratchPool& pool, std::unique_ptr<T> scratch) : pool_(pool), scratch_(std::move(scratch)) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { pool_.put_back(std::move(scratch_)); }

    T& operator*() { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<T> scratch_;
  };

  // An idle piece, or a new T(arguments...) where all are in use. Thread-safe.
  template <class... Arguments>
  Lease lease(const Arguments&... arguments) {
    std::unique_ptr<T> scratch = idle();
    return Lease(*this, scratch != nullptr ? std::move(scratch) : std::make_unique<T>(arguments...));
  }

 private:
  std::unique_ptr<T> idle() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) return nullptr;
    std::unique_ptr<T> scratch = std::move(idle_.back());
    idle_.pop_back();
    return scratch;
  }

  void put_back(std::unique_ptr<T> scratch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(scratch));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> idle_;
};

}  // namespace retrieval
