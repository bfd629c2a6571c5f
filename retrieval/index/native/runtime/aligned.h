// Arrays that begin at a cache line, so that a row of codes or links never straddles one more line than it must.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace retrieval {

template <class T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{4096};

  LineAllocator() = default;
  template <class U>
  LineAllocator(const LineAllocator<U>&) {}

  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kAlignment)); }
  void deallocate(T* memory, size_t) { ::operator delete(memory, kAlignment); }
  template <class U>
  bool operator==(const LineAllocator<U>&) const {
    return true;
  }
};

template <class T>
using Lines = std::vector<T, LineAllocator<T>>;

}  // namespace retrieval
