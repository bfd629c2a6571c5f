from __future__ import annotations

import subprocess
import sys

import pytest

import retrieval

PUBLIC = ["AsyncClient", "Build", "Candidates", "Client", "RetrievalError", "Retriever", "Version", "Workspace"]


def test_these_names_are_public_and_no_others() -> None:
    assert retrieval.__all__ == PUBLIC
    assert [getattr(retrieval, name).__name__ for name in PUBLIC] == PUBLIC


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Engine'"):
        _ = retrieval.Engine


def _loaded(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_of_it() -> None:
    assert {name for name in _loaded("import retrieval") if name.startswith("retrieval.")} == set()


def test_a_client_needs_neither_torch_nor_the_search_core() -> None:
    heavy = {"torch", "onnxruntime", "hnswlib", "sqlalchemy", "retrieval.index._native", "retrieval.workflows.training"}
    assert not heavy & _loaded("import retrieval; retrieval.Client('127.0.0.1:1').close()")


def test_everything_public_says_what_it_is_for() -> None:
    silent = [
        f"{name}.{member}"
        for name in PUBLIC
        for member, value in vars(getattr(retrieval, name)).items()
        if not member.startswith("_") and (callable(value) or isinstance(value, property)) and not value.__doc__
    ]
    assert silent == []
