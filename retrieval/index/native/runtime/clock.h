// The steady clock, which deadlines are on.
#pragma once

#include <cstdint>

namespace retrieval {

// Nanoseconds since a fixed moment in the past.
int64_t now_ns();

}  // namespace retrieval
