# Says in plain words that a C++ compiler is missing, before CMake's own search ends in a page of messages.
include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
  unset(CMAKE_CXX_COMPILER CACHE) # else the next run would not look again
  if(DEFINED ENV{CXX})
    set(looked_for "$CXX, which is '$ENV{CXX}'")
  else()
    set(looked_for "c++, g++ and clang++ on PATH, which is '$ENV{PATH}'")
  endif()
  message(FATAL_ERROR
    "\nretrieval is partly written in C++ and no working C++ compiler was found.\n"
    "  Looked for: ${looked_for}\n"
    "  Needed: one that knows C++20, such as GCC 11 or Clang 14 and newer\n"
    "  Debian, Ubuntu: apt-get install g++\n"
    "  macOS: xcode-select --install\n"
    "  A compiler elsewhere: set CXX to its path\n")
endif()
