// Item ids for Python, over arrays that are kept and not copied.
#include "file/item_ids.h"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstring>

#include "graph/view.h"
#include "python/module.h"

using namespace nanobind::literals;

namespace retrieval {
namespace {

Texts texts_of(Vector<int32_t> ends, Vector<uint8_t> text) {
  require(ends.shape(0) >= 1 && ends.shape(0) - 1 <= kMaxRows, "one end more than texts is needed, and not too many");
  return {ends.data(), reinterpret_cast<const char*>(text.data()), text.shape(0),
          static_cast<uint32_t>(ends.shape(0) - 1)};
}

nb::ndarray<nb::numpy, uint64_t, nb::ndim<1>> id_hashes(Vector<int32_t> ends, Vector<uint8_t> text) {
  const Texts texts = texts_of(ends, text);
  std::vector<uint64_t> hashes(texts.count);
  for (uint32_t row = 0; row < texts.count; row++) {
    require(texts.holds(row), "a text lies out of bounds");
    hashes[row] = id_hash(texts.at(row));
  }
  return owned(std::move(hashes));
}

// A new str, or nullptr with Python's error set.
PyObject* text_object(std::string_view text) {
  const Py_ssize_t size = static_cast<Py_ssize_t>(text.size());
  if (size == 0 || std::any_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) < 0; })) {
    return PyUnicode_DecodeUTF8(text.data(), size, nullptr);
  }
  PyObject* const made = PyUnicode_New(size, 127);
  if (made != nullptr) std::memcpy(PyUnicode_1BYTE_DATA(made), text.data(), text.size());
  return made;
}

// Keeps the arrays, which may be mapped files, as long as it lives.
class ItemIdArrays {
 public:
  ItemIdArrays(Vector<int32_t> ends, Vector<uint8_t> text, Vector<uint64_t> hashes, Vector<uint32_t> rows)
      : ends_(ends), text_(text), hashes_(hashes), rows_(rows), ids_(texts_of(ends, text), hashes.data(), rows.data()) {
    require(hashes.shape(0) == count() && rows.shape(0) == count(), "one hash and one row of every text are needed");
  }

  uint32_t count() const { return ids_.texts().count; }

  void verify(const std::string& texts_path, const std::string& lookup_path) const {
    const nb::gil_scoped_release free;
    ids_.verify(texts_path, lookup_path);
  }

  nb::object names(Vector<int64_t> rows) const {
    const Texts& texts = ids_.texts();
    const size_t n = rows.shape(0);
    for (size_t i = 0; i < n; i++) {
      require(rows(i) >= 0 && rows(i) < count(), "a row is out of bounds");
      __builtin_prefetch(texts.ends + rows(i));
    }
    for (size_t i = 0; i < n; i++) {
      const uint32_t row = static_cast<uint32_t>(rows(i));
      require(texts.holds(row), "an id lies out of bounds");
      __builtin_prefetch(texts.at(row).data());
    }
    nb::object made = nb::steal(PyList_New(static_cast<Py_ssize_t>(n)));
    if (!made.is_valid()) throw nb::python_error();
    for (size_t i = 0; i < n; i++) {
      PyObject* const name = text_object(texts.at(static_cast<uint32_t>(rows(i))));
      if (name == nullptr) throw nb::python_error();
      PyList_SET_ITEM(made.ptr(), static_cast<Py_ssize_t>(i), name);
    }
    return made;
  }

  nb::ndarray<nb::numpy, uint32_t, nb::ndim<1>> rows(nb::iterable item_ids) const {
    const nb::object held = nb::steal(PySequence_Fast(item_ids.ptr(), "item ids are needed"));
    if (!held.is_valid()) throw nb::python_error();
    const size_t n = static_cast<size_t>(PySequence_Fast_GET_SIZE(held.ptr()));
    std::vector<std::string_view> ids;
    ids.reserve(n);
    for (size_t i = 0; i < n; i++) {
      Py_ssize_t size = 0;
      const char* const text =
          PyUnicode_AsUTF8AndSize(PySequence_Fast_GET_ITEM(held.ptr(), static_cast<Py_ssize_t>(i)), &size);
      if (text != nullptr) {
        ids.emplace_back(text, static_cast<size_t>(size));
      } else if (PyErr_ExceptionMatches(PyExc_UnicodeError)) {
        PyErr_Clear();  // half a surrogate pair: no item's id
      } else {
        throw nb::python_error();
      }
    }
    std::vector<uint32_t> found;
    found.reserve(n);
    ids_.find(ids.data(), ids.size(), found);
    return owned(std::move(found));
  }

 private:
  Vector<int32_t> ends_;
  Vector<uint8_t> text_;
  Vector<uint64_t> hashes_;
  Vector<uint32_t> rows_;
  ItemIds ids_;
};

}  // namespace

void bind_item_ids(nb::module_& module) {
  module.def("id_hashes", &id_hashes, "ends"_a, "text"_a);
  nb::class_<ItemIdArrays>(module, "ItemIds")
      .def(nb::init<Vector<int32_t>, Vector<uint8_t>, Vector<uint64_t>, Vector<uint32_t>>(), "ends"_a, "text"_a,
           "hashes"_a, "rows"_a)
      .def("__len__", &ItemIdArrays::count)
      .def("verify", &ItemIdArrays::verify, "texts_path"_a, "lookup_path"_a)
      .def("names", &ItemIdArrays::names, "rows"_a)
      .def("rows", &ItemIdArrays::rows, "item_ids"_a);
}

}  // namespace retrieval
