# The Python module: thin bindings over retrieval_core.
find_package(Python 3.11 COMPONENTS Interpreter Development.Module)
if(NOT Python_Development.Module_FOUND)
  message(FATAL_ERROR
    "\nThe C headers of Python were not found (Python.h, for the interpreter '${Python_EXECUTABLE}').\n"
    "  Debian, Ubuntu: apt-get install python3-dev\n"
    "  Without Python: -DRETRIEVAL_MODULE=OFF builds the core alone\n")
endif()
find_package(nanobind CONFIG REQUIRED)
nanobind_add_module(_native NB_STATIC python/module.cpp python/item_ids.cpp)
target_link_libraries(_native PRIVATE retrieval_core)
target_compile_options(_native PRIVATE -Wall -Wextra)
