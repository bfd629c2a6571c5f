// What the processor that runs this can do.
#pragma once

#include <string>
#include <vector>

namespace retrieval {

// Names of the instruction sets that this processor and its operating system support, best first:
// "avx512", "avx2", and "portable" always.
std::vector<std::string> instruction_sets();

}  // namespace retrieval
