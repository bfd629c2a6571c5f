// Files as memory, and files written so that every error shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace retrieval {

// A file mapped read-only: its pages are shared by all processes that map it, and read when first touched.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);  // throws UnreachableError
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Writes a new file; close() flushes it to the disk. All throw UnreachableError.
class NewFile {
 public:
  explicit NewFile(const std::string& path);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  void write(const void* data, size_t bytes);
  void pad_to(size_t position);  // with zeros
  size_t position() const { return position_; }
  void close();

 private:
  std::string path_;
  int file_ = -1;
  size_t position_ = 0;
};

// Replaces the first bytes of a file and flushes it to the disk. Throws UnreachableError.
void set_start(const std::string& path, const void* data, size_t bytes);

}  // namespace retrieval
