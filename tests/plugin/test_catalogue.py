"""The models as the API server knows them: read when it starts and when a file changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_model_ops.plugin import catalogue
from tests.waits import until

YAML = "model: {model}\nchecks:\n  - {{name: errors, kind: error_rate}}\n"


@pytest.fixture
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with the model ``a``, looked at with every question."""
    monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(catalogue, "_LOOK_SECONDS", 0.0)
    _write(tmp_path, "a")
    catalogue.forget()
    yield tmp_path
    catalogue.forget()


def _write(directory: Path, model: str, text: str = YAML) -> None:
    aside = directory / ".aside"
    aside.write_text(text.format(model=model))
    os.replace(aside, directory / f"{model}.yaml")  # noqa: PTH105 (nobody sees half a file)


def names() -> set[str]:
    return set(catalogue.catalogue().models)


def test_a_new_file_is_seen_soon(models_dir: Path) -> None:
    assert names() == {"a"}

    _write(models_dir, "b")

    until(lambda: names() == {"a", "b"}, what="the new model")


def test_requests_go_on_with_what_is_known_while_a_change_is_read(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names() == {"a"}
    gate, read = threading.Event(), catalogue.load_ways_back
    monkeypatch.setattr(catalogue, "load_ways_back", lambda directory: (gate.wait(60), read(directory))[1])

    _write(models_dir, "b")
    assert names() == {"a"}

    gate.set()
    until(lambda: names() == {"a", "b"}, what="the new model")


def test_a_file_with_a_mistake_is_counted_and_keeps_its_way_back(models_dir: Path) -> None:
    _write(models_dir, "b", "model: {model}\nchecks: nonsense\n")
    catalogue.forget()

    assert (set(catalogue.catalogue().models), catalogue.catalogue().mistakes) == ({"a", "b"}, 1)


def test_without_a_directory_there_is_no_model_and_one_mistake(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", str(models_dir / "nowhere"))

    assert (names(), catalogue.catalogue().mistakes) == (set(), 1)


def test_a_link_to_nowhere_hides_no_model(models_dir: Path) -> None:
    assert names() == {"a"}
    (models_dir / ".#a.yaml").symlink_to("ada@laptop.4711")  # as an editor locks the file that it edits
    assert names() == {"a"}
    _write(models_dir, "b")
    until(lambda: names() == {"a", "b"}, what="the new model")
    catalogue.forget()
    assert names() == {"a", "b"}


def test_files_that_cannot_be_looked_at_for_a_moment_leave_what_was_known(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names() == {"a"}

    def gone(_: Path) -> Iterator[Path]:
        raise OSError("stale file handle")

    with monkeypatch.context() as trouble:
        trouble.setattr(Path, "iterdir", gone)
        assert (names(), catalogue.catalogue().mistakes) == ({"a"}, 1)
    assert (names(), catalogue.catalogue().mistakes) == ({"a"}, 0)


def test_only_one_request_waits_for_a_directory_that_hangs(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names() == {"a"}
    gate, looks, look = threading.Event(), threading.Event(), Path.iterdir

    def hang(path: Path) -> Iterator[Path]:
        looks.set()
        gate.wait(60)
        return look(path)

    monkeypatch.setattr(Path, "iterdir", hang)
    first = threading.Thread(target=names)
    first.start()
    try:
        assert looks.wait(60)
        assert names() == {"a"}
        assert not gate.is_set()
    finally:
        gate.set()
        first.join()
