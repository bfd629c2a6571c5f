#pragma once

#include <stdexcept>

namespace retrieval {

// A file does not hold what it should; the message says what was found and what was expected.
struct DamagedError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A file can't be read or written at all.
struct UnreachableError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace retrieval
