from __future__ import annotations

import pytest

from retrieval.errors import ConfigError, ConflictError, NotFoundError
from retrieval.registry import BuildRow, Registry, VersionRow
from retrieval.types import BuildId, ModelVersion


def version_row(number: int, **changes: object) -> VersionRow:
    given = {"model": "feed", "version": number, "space_id": f"s{number}", "key": f"models/feed/{number}"}
    return VersionRow(**given | {"digest": f"d{number}"} | changes)


def build_row(number: int, version: int, **changes: object) -> BuildRow:
    given = {"model": "feed", "number": number, "version": version, "space_id": f"s{version}", "shards": 2}
    return BuildRow(**given | {"digest": f"b{number}", "items": 10, "recall": 0.97} | changes)


def test_a_version_goes_from_reserved_to_ready_to_retired(registry: Registry) -> None:
    reserved = registry.reserve_version("feed", inputs_hash="abc")
    assert (reserved.version, reserved.state) == (1, "reserved")
    ready = registry.add_version(version_row(1, inputs_hash="abc", metrics={"hr@10": 0.25}))
    assert ready.state == "ready"
    assert ready.metrics == {"hr@10": 0.25}
    assert ready.created_at.utcoffset() is not None
    assert registry.get_version(ready.id) == ready
    assert registry.set_version_state(ready.id, "retired").state == "retired"
    with pytest.raises(ConflictError, match="feed@1 is retired"):
        registry.set_version_state(ready.id, "ready")


def test_adding_the_same_artifact_again_changes_nothing_and_another_one_conflicts(registry: Registry) -> None:
    first = registry.add_version(version_row(1))
    trail = len(registry.audit())
    assert registry.add_version(version_row(1)) == first
    assert len(registry.audit()) == trail
    with pytest.raises(ConflictError, match="feed@1 is ready already"):
        registry.add_version(version_row(1, digest="other"))


def test_numbers_are_per_model_and_never_given_out_twice(registry: Registry) -> None:
    assert [registry.reserve_version("feed").version for _ in range(3)] == [1, 2, 3]
    registry.set_version_state(ModelVersion("feed", 3), "failed", reason="training diverged")
    assert registry.reserve_version("feed").version == 4
    assert registry.reserve_version("shop").version == 1
    registry.add_version(version_row(9))  # brought from elsewhere
    assert registry.reserve_version("feed").version == 10


def test_a_version_is_found_by_its_inputs(registry: Registry) -> None:
    registry.reserve_version("feed", inputs_hash="abc")
    assert registry.find_version_by_inputs("feed", "abc") is None
    interrupted = registry.find_version_by_inputs("feed", "abc", state="reserved")
    assert interrupted is not None
    assert interrupted.version == 1
    registry.add_version(version_row(1, inputs_hash="abc"))
    registry.add_version(version_row(2, inputs_hash="xyz"))
    found = registry.find_version_by_inputs("feed", "abc")
    assert found is not None
    assert found.version == 1
    assert registry.find_version_by_inputs("shop", "abc") is None


def test_a_build_needs_a_ready_version_of_its_space(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="feed@1: no such version"):
        registry.reserve_build(ModelVersion("feed", 1))
    registry.reserve_version("feed")
    with pytest.raises(ConflictError, match="feed@1 is reserved"):
        registry.reserve_build(ModelVersion("feed", 1))
    registry.add_version(version_row(1))
    reserved = registry.reserve_build(ModelVersion("feed", 1), inputs_hash="q")
    assert (reserved.number, reserved.state) == (1, "building")
    assert registry.find_build_by_inputs("feed", "q", state="building") == reserved
    with pytest.raises(ConflictError, match="space"):
        registry.add_build(build_row(1, 1, space_id="another"))
    ready = registry.add_build(build_row(1, 1, inputs_hash="q"))
    assert registry.get_build(ready.id) == ready
    assert registry.find_build_by_inputs("feed", "q") == ready
    assert registry.list_builds("feed") == [ready]
    assert registry.list_builds("feed", states=["building"]) == []
    with pytest.raises(ConflictError, match="feed-b1 is ready already"):
        registry.add_build(build_row(1, 1, digest="other"))


def test_what_is_not_there_is_named(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="feed@7"):
        registry.get_version(ModelVersion("feed", 7))
    with pytest.raises(NotFoundError, match="feed-b7"):
        registry.get_build(BuildId("feed", 7))
    with pytest.raises(NotFoundError, match="deployment 7"):
        registry.get_deployment(7)
    with pytest.raises(NotFoundError, match="host 'x'"):
        registry.get_host("x")
    with pytest.raises(ConfigError, match="not a model name"):
        registry.reserve_version("Not A Name")


def test_a_refreshed_build_names_its_parent_and_its_moment_only_moves_on(registry: Registry) -> None:
    registry.add_version(version_row(1))
    registry.add_build(build_row(1, 1, at_us=5))
    reserved = registry.reserve_build(ModelVersion("feed", 1), inputs_hash="q", parent=1)
    assert (reserved.parent, reserved.at_us) == (1, None)
    with pytest.raises(ConflictError, match="feed-b2 is building"):
        registry.set_build_moment(reserved.id, 9)
    assert registry.set_build_moment(BuildId("feed", 1), 9).at_us == 9
    assert registry.set_build_moment(BuildId("feed", 1), 7).at_us == 9
