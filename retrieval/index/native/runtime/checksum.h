#pragma once

#include <cstddef>
#include <cstdint>

namespace retrieval {

// 64-bit checksum of a block of bytes; one changed bit changes it. Part of the file formats.
uint64_t checksum(const uint8_t* data, size_t bytes, uint64_t seed);

}  // namespace retrieval
