#pragma once

#include <stdexcept>

namespace retrieval {

// A file that does not hold what it should: what was found, and what was expected.
struct Damaged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A file that can't be read or written at all.
struct Unreachable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace retrieval
