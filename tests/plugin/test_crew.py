"""Threads for reads that may hang, in a process that may have no thread to spare for a moment."""

from __future__ import annotations

import threading

import pytest

from airflow_model_ops.plugin.backends.crew import Crew
from airflow_model_ops.plugin.catalogue import Catalogue
from airflow_model_ops.plugin.overview import Projection


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let no thread start until that is undone."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return monkeypatch


def test_work_that_found_no_thread_is_done_when_there_is_one(no_threads: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    crew = Crew(size=1, name="test")
    crew.submit(done.set)
    crew.submit(lambda: None)
    no_threads.undo()
    crew.start_missing()
    assert done.wait(60)


def test_a_list_that_found_no_thread_is_brought_up_to_date_by_the_next_request(no_threads: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def models() -> dict[str, object]:
        if threading.current_thread().name == "model-ops-overview":
            asked.set()
        return dict(Catalogue(models={}, mistakes=0).models)

    projection = Projection(models=models)  # type: ignore[arg-type]
    assert projection.rows([]).rows == []
    no_threads.undo()
    projection.rows([])
    try:
        assert asked.wait(60)
    finally:
        projection.sleep()
