from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_model_ops.model_server.lifecycle import Lifecycle
from airflow_model_ops.model_server.model_list import All, Latest, Specific
from airflow_model_ops.model_server.path_source import AspiredVersion
from airflow_model_ops.model_server.server_core import ModelRef
from airflow_model_ops.model_server.state_board import State, StateBoard
from airflow_model_ops.model_server.status import Code, StatusError
from tests.waits import all_ended, until


def served(rig: Any, model: str) -> list[int]:
    return sorted(version for name, version in rig.lifecycle.loaded() if name == model)


def test_a_new_version_is_loaded_before_the_old_one_is_unloaded(rig: Any) -> None:
    rig.add("digits", 1)
    rig.reload(rig.entry("digits"))
    rig.add("digits", 2)

    rig.source.poll()
    seen = []
    while rig.lifecycle.tick():
        seen.append(served(rig, "digits"))

    assert [1, 2] in seen
    assert [] not in seen
    assert served(rig, "digits") == [2]
    assert rig.states("digits") == [(2, "AVAILABLE"), (1, "END")]
    assert rig.servables["digits", 1].closed


def test_the_highest_new_version_is_loaded_first(rig: Any) -> None:
    rig.add("digits", 1, 2, 3)
    rig.reload(rig.entry("digits", policy=All()))
    assert rig.loads == [("digits", 3), ("digits", 2), ("digits", 1)]


def test_unloads_come_before_loads_across_models(rig: Any) -> None:
    rig.add("a", 1)
    rig.add("b", 1)
    rig.reload(rig.entry("a"), rig.entry("b", policy=All()))
    rig.add("a", 2)
    rig.source.poll()
    rig.lifecycle.aspire("b", ())

    rig.lifecycle.tick()

    assert rig.states("b") == [(1, "END")]
    assert served(rig, "a") == [1]


def test_of_two_surplus_versions_the_lower_goes_even_before_the_new_one_is_there(rig: Any) -> None:
    rig.add("digits", 1, 2)
    rig.reload(rig.entry("digits", policy=All()))
    rig.add("digits", 3)
    rig.core.reload([rig.entry("digits", policy=Specific(versions=(3,)))])
    rig.source.poll()

    rig.lifecycle.tick()
    assert served(rig, "digits") == [2]
    rig.lifecycle.tick()
    assert served(rig, "digits") == [2, 3]


def test_a_version_goes_through_all_states_in_order(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    publish = StateBoard.publish

    def spy(board: StateBoard, model: str, **change: Any) -> None:
        seen.append(change["state"].name)
        publish(board, model, **change)

    monkeypatch.setattr(StateBoard, "publish", spy)
    rig.add("digits", 1)
    rig.reload(rig.entry("digits"))
    rig.reload()
    assert seen == ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


def test_a_deleted_directory_unloads_its_version(rig: Any) -> None:
    rig.add("digits", 1)
    rig.reload(rig.entry("digits"))
    (rig.base_path("digits") / "1").rmdir()
    rig.turn()
    assert rig.states("digits") == [(1, "END")]


def test_a_version_that_failed_stays_failed_until_it_is_no_longer_aspired(rig: Any) -> None:
    rig.add("digits", 1)
    rig.reload(rig.entry("digits", policy=All()))
    rig.add("digits", 2)
    rig.broken.add(2)
    rig.turn()
    assert rig.states("digits") == [(2, "END"), (1, "AVAILABLE")]
    assert rig.board.get("digits", version=2).error_message == "no SavedModel in 2"

    rig.broken.clear()
    rig.turn()
    rig.turn()
    assert rig.states("digits") == [(2, "END"), (1, "AVAILABLE")]

    rig.reload(rig.entry("digits", policy=Specific(versions=(1,))))
    rig.reload(rig.entry("digits", policy=All()))
    assert rig.states("digits") == [(2, "AVAILABLE"), (1, "AVAILABLE")]
    assert rig.board.get("digits", version=2).error_code is Code.OK


def test_a_failed_new_version_leaves_the_old_one_serving(rig: Any) -> None:
    rig.add("digits", 1)
    rig.reload(rig.entry("digits"))
    rig.add("digits", 2)
    rig.broken.add(2)
    rig.turn()
    assert served(rig, "digits") == [1]


def test_a_version_taken_back_while_it_is_unloading_waits_until_it_is_gone(rig: Any) -> None:
    rig.add("digits", 1, 2)
    rig.reload(rig.entry("digits", policy=All()))
    rig.core.reload([rig.entry("digits", policy=Specific(versions=(2,)))])
    rig.source.poll()
    rig.lifecycle.tick()  # takes up the list and unloads version 1
    rig.core.reload([rig.entry("digits", policy=All())])
    rig.turn()
    assert rig.states("digits") == [(2, "AVAILABLE"), (1, "AVAILABLE")]
    assert rig.loads.count(("digits", 1)) == 2


def test_a_version_is_not_freed_while_a_request_holds_it(rig: Any) -> None:
    rig.add("digits", 1)
    rig.reload(rig.entry("digits"))
    with rig.core.acquire(ModelRef(name="digits")) as loaded:
        rig.add("digits", 2)
        rig.source.poll()
        settling = threading.Thread(target=rig.lifecycle.settle, daemon=True)
        settling.start()
        until(
            lambda: rig.board.get("digits", version=1).state is State.UNLOADING,
            what="version 2 is loaded, and version 1 waits for its request",
        )
        assert settling.is_alive()
        assert not loaded.servable.closed
        with rig.core.acquire(ModelRef(name="digits")) as newer:
            assert newer.version == 2
    all_ended(settling)
    assert loaded.servable.closed
    assert rig.states("digits") == [(2, "AVAILABLE"), (1, "END")]


def test_requests_find_the_highest_version_a_given_one_or_none(rig: Any) -> None:
    rig.add("digits", 1, 2)
    rig.reload(rig.entry("digits", policy=Latest(num_versions=2)))
    with rig.lifecycle.acquire("digits") as latest, rig.lifecycle.acquire("digits", version=1) as first:
        assert (latest.version, first.version) == (2, 1)
    with pytest.raises(StatusError, match=r"^Servable not found for request: Specific\(digits, 5\)$"):
        rig.lifecycle.acquire("digits", version=5).__enter__()
    with pytest.raises(StatusError, match=r"^Servable not found for request: Latest\(faces\)$") as caught:
        rig.lifecycle.acquire("faces").__enter__()
    assert caught.value.code is Code.NOT_FOUND


def flaky(failures: int, tries: list[int]) -> Any:
    class Loaded:
        def close(self) -> None:
            tries.clear()

    def load(model: str, version: int, path: Path) -> Loaded:
        tries.append(version)
        if len(tries) <= failures:
            raise StatusError(Code.UNAVAILABLE, "storage is away")
        return Loaded()

    return load


def test_a_failed_load_is_tried_again_as_often_as_allowed() -> None:
    tries: list[int] = []
    board = StateBoard()
    lifecycle = Lifecycle(
        load=flaky(2, tries), board=board, max_load_retries=2, retry_wait=lambda given_up: given_up.is_set()
    )
    lifecycle.aspire("m", [AspiredVersion(number=1, path=Path("1"))])
    lifecycle.settle()
    assert len(tries) == 3
    assert lifecycle.loaded() == [("m", 1)]


def test_a_load_is_given_up_when_its_version_is_no_longer_wanted() -> None:
    tries: list[int] = []
    board = StateBoard()

    def unwanted_meanwhile(given_up: threading.Event) -> bool:
        lifecycle.aspire("m", ())
        return given_up.is_set()

    lifecycle: Lifecycle[Any] = Lifecycle(
        load=flaky(99, tries), board=board, max_load_retries=5, retry_wait=unwanted_meanwhile
    )
    lifecycle.aspire("m", [AspiredVersion(number=1, path=Path("1"))])
    lifecycle.settle()
    assert len(tries) == 1
    state = board.get("m", version=1)
    assert state is not None
    assert (state.state, state.error_code) == (State.END, Code.UNAVAILABLE)
