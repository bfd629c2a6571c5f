#include "processor.h"

namespace retrieval {

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
#ifdef RETRIEVAL_X86_64
    // The compiler's own test includes whether the operating system keeps the wide registers
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")) {
        names.emplace_back("avx512");
    }
    if (avx2) {
        names.emplace_back("avx2");
    }
#endif
    names.emplace_back("portable");
    return names;
}

}  // namespace retrieval
