from __future__ import annotations

import grpc

from retrieval import errors
from retrieval.errors import RetrievalError

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RetrievalError)]


def test_every_error_has_a_real_status_and_a_small_exit_code() -> None:
    for kind in ALL:
        assert kind.grpc_status in grpc.StatusCode.__members__
        assert 1 <= kind.exit_code <= 63, kind


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    lines = [line.replace("├──", "").replace("└──", "").split() for line in (errors.__doc__ or "").splitlines()]
    drawn = {line[0]: (line[1], int(line[2])) for line in lines if len(line) >= 3 and line[0].endswith("Error")}
    assert drawn == {kind.__name__: (kind.grpc_status, kind.exit_code) for kind in ALL}


def test_exit_codes_tell_errors_apart() -> None:
    shared = {"ConfigError", "RequestError"}  # both: what the caller gave is wrong
    codes = [kind.exit_code for kind in ALL if kind.__name__ not in shared]
    assert len(codes) == len(set(codes))


def test_one_line_each_says_what_it_is_for() -> None:
    assert all(kind.__doc__ for kind in ALL)
