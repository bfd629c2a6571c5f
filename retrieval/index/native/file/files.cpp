#include "file/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/errors.h"

namespace retrieval {
namespace {

[[noreturn]] void fail(const std::string& path, const char* what) {
  throw UnreachableError(path + ": " + what + ": " + std::strerror(errno));
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail(path, "can't be opened");
  struct stat facts;
  if (::fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    ::close(file);
    throw UnreachableError(path + ": not a regular file");
  }
  size_ = static_cast<size_t>(facts.st_size);
  void* const mapped = size_ > 0 ? ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file, 0) : nullptr;
  const int error = errno;
  ::close(file);
  if (mapped == MAP_FAILED) {
    errno = error;
    fail(path, "can't be mapped");
  }
  data_ = static_cast<const uint8_t*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
}

NewFile::NewFile(const std::string& path) : path_(path) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file_ < 0) fail(path, "can't be created");
}

NewFile::~NewFile() {
  if (file_ >= 0) ::close(file_);
}

void NewFile::write(const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  position_ += bytes;
  while (bytes > 0) {
    const ssize_t written = ::write(file_, at, std::min<size_t>(bytes, 1u << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(path_, "can't be written");
    at += written;
    bytes -= static_cast<size_t>(written);
  }
}

void NewFile::pad_to(size_t position) {
  static const char zeros[4096] = {};
  while (position_ < position) write(zeros, std::min(sizeof zeros, position - position_));
}

void NewFile::close() {
  if (::fsync(file_) != 0) fail(path_, "can't be flushed to the disk");
  const int closed = ::close(file_);
  file_ = -1;
  if (closed != 0) fail(path_, "can't be closed");
}

void set_start(const std::string& path, const void* data, size_t bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) fail(path, "can't be opened");
  const bool written = ::pwrite(file, data, bytes, 0) == static_cast<ssize_t>(bytes) && ::fsync(file) == 0;
  const int error = errno;
  ::close(file);
  errno = error;
  if (!written) fail(path, "can't be written");
}

}  // namespace retrieval
