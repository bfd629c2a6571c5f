"""Packages that import their public names when they are first used offer what type checkers are told they do."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import retrieval
from retrieval.lazy import lazy_names

ROOT = Path(retrieval.__file__).parent
LAZY = sorted(
    f"retrieval.{path.parent.relative_to(ROOT).as_posix().replace('/', '.')}"
    for path in ROOT.rglob("__init__.py")
    if path.parent != ROOT and "lazy_names(" in path.read_text()
)


def told_to_type_checkers(package: str) -> dict[str, str]:
    tree = ast.parse(Path(str(importlib.import_module(package).__file__)).read_text())
    guarded = [node for branch in tree.body if isinstance(branch, ast.If) for node in branch.body]
    return {name.name: str(node.module) for node in guarded if isinstance(node, ast.ImportFrom) for name in node.names}


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_is_found_where_it_is_said_to_be(package: str) -> None:
    module = importlib.import_module(package)
    told = told_to_type_checkers(package)
    assert set(module.__all__) == set(told)
    for name, home in told.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)


@pytest.mark.parametrize("package", LAZY)
def test_no_public_name_is_that_of_a_submodule(package: str) -> None:
    module = importlib.import_module(package)
    inside = {path.stem for path in Path(str(module.__file__)).parent.iterdir()}
    assert not inside & set(module.__all__)


@pytest.mark.parametrize("package", LAZY)
def test_importing_the_package_imports_none_of_its_modules(package: str) -> None:
    code = f"import sys, {package}; print([m for m in sys.modules if m.startswith('{package}.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_there_are_some() -> None:
    assert "retrieval.data" in LAZY


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'retrieval.data' has no attribute 'Nothing'"):
        lazy_names("retrieval.data", {})("Nothing")
