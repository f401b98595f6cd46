"""Which directories of a training pipeline count as complete exports."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository.exports import complete_exports
from airflow_model_ops.core.errors import InvalidConfig

SETTLE = 30.0


def export(root: Path, name: str) -> Path:
    directory = root / name
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"graph")
    (directory / "variables" / "variables.index").write_bytes(b"index")
    return directory


def names(root: Path, *, after: float) -> set[str]:
    """The complete exports as seen so many seconds from now."""
    return {found.name for found in complete_exports(root, settle_seconds=SETTLE, now=time.time() + after)}


def test_an_export_is_complete_once_nothing_in_it_changed_for_the_settle_time(tmp_path: Path) -> None:
    export(tmp_path, "1")

    assert names(tmp_path, after=SETTLE - 10) == set()
    assert names(tmp_path, after=SETTLE + 1) == {"1"}


def test_a_copy_that_keeps_old_modification_times_is_not_taken_for_settled(tmp_path: Path) -> None:
    directory = export(tmp_path, "1")
    for path in (directory, *directory.rglob("*")):
        os.utime(path, (1.0, 1.0))

    assert names(tmp_path, after=0) == set()
    assert names(tmp_path, after=SETTLE + 1) == {"1"}


def test_only_saved_models_under_final_names_count(tmp_path: Path) -> None:
    outside = export(tmp_path / "outside", "model")
    exports = tmp_path / "exports"
    for name in ("good", ".hidden", "half.tmp", "temp-1700000000"):
        export(exports, name)
    (exports / "checkpoints").mkdir()
    (exports / "saved_model.pb").write_bytes(b"a file beside the exports")
    (exports / "elsewhere").symlink_to(outside)
    (exports / "latest").symlink_to("good")

    assert names(exports, after=SETTLE + 1) == {"good"}


def test_a_text_graph_counts_too(tmp_path: Path) -> None:
    directory = export(tmp_path, "1")
    (directory / "saved_model.pb").rename(directory / "saved_model.pbtxt")

    assert names(tmp_path, after=SETTLE + 1) == {"1"}


def test_an_export_directory_that_is_not_there_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"source\.export_dir '.*nowhere' is not a directory"):
        names(tmp_path / "nowhere", after=0)
