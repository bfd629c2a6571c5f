// Python's view of the core: retrieval.index._native. What it offers is documented in _native.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "processor.h"

NB_MODULE(_native, module) {
    module.doc() = "The index's search core.";
    module.def("instruction_sets", &retrieval::instruction_sets,
               "Instruction sets that this processor supports, best first.");
}
