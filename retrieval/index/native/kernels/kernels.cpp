#include "kernels/kernels.h"

#include <cstring>

namespace retrieval {
namespace {

const Kernels* const kAll[] = {
#ifdef RETRIEVAL_X86_64
    &kAvx512,
    &kAvx2,
#endif
    &kPortable,
};

bool runs_here(const Kernels& one) {
#ifdef RETRIEVAL_X86_64
  __builtin_cpu_init();
  if (&one == &kAvx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
  }
  if (&one == &kAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return true;
}

}  // namespace

const Kernels* kernels_named(const char* name) {
  for (const Kernels* one : kAll) {
    if (std::strcmp(one->name, name) == 0 && runs_here(*one)) return one;
  }
  return nullptr;
}

const Kernels& kernels() {
  for (const Kernels* one : kAll) {
    if (runs_here(*one)) return *one;
  }
  return kPortable;
}

}  // namespace retrieval
