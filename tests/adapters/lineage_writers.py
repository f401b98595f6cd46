"""Several writer processes on one ledger, several of them on each model; for every backend."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.lineage.verification import LedgerVerification
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.state import Fence
from airflow_model_ops.core.upstream import SOURCE_KEY
from airflow_model_ops.core.versioning import Version
from tests.adapters.lineage_family import artifact, trained
from tests.adapters.lineage_story import NAMING, ListLog, Story
from tests.waits import all_ended

WRITERS, MODELS, ENTRIES = 8, 4, 500
_AT_A_TIME = 50
"""How many entries a log grows by between two catch-ups of a writer."""
_SPAWN = multiprocessing.get_context("spawn")


def busy_log(entries: int) -> ListLog:
    """A log of pushes and what follows: a new version every five entries, in releases and DAG runs."""
    story = Story()
    for number in range(entries):
        version = NAMING.parse(f"v-20230601-{number // 300:02d}{number // 5 % 60:02d}00")
        if number % 5 == 0:
            story.happens(FactKind.PUSHED, version, f"{version} pushed")
        elif number % 5 == 1:
            story.happens(FactKind.VALIDATED, version, "accuracy 0.97", detail={"blessed": True, "accuracy": 0.97})
        else:
            fence = Fence(release=f"r{number // 5}", attempt=1)
            story.happens(FactKind.VERDICT, version, f"verdict {number}", release=fence, detail={"verdict": "SAFE"})
    return story.log


def shared_manifest_of(version: Version) -> Manifest:
    """The manifest of any version: all models' versions come from the same few datasets and examples."""
    number = version.number // 100 % 100
    lineage = trained(artifact(1000 + number, "Model"), artifact(number % 3, "Examples"))
    return Manifest(
        version=version,
        digest=f"{number:064x}",
        files={},
        size=1,
        created="2023-06-01T12:00:00+00:00",
        source={SOURCE_KEY: lineage.to_json()},
        dataset_version=f"digits@{number % 7}",
    )


class GrowingLog(ListLog):
    """A log that several processes see grow.

    :param length: How many entries it has by now, shared by the processes.
    """

    def __init__(self, entries: list[Entry], *, length: Any) -> None:
        super().__init__(entries)
        self._length = length

    def read(self, sequence: int) -> Entry | None:
        return super().read(sequence) if sequence <= self._length.value else None

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        while after < self._length.value:
            yield self.stored[after]
            after += 1

    def grows(self, count: int) -> bool:
        with self._length.get_lock():
            self._length.value = min(self._length.value + count, len(self.stored))
            return self._length.value < len(self.stored)


def write_in_a_child(settings: LedgerSettings, start: Any, model: str, length: Any) -> None:
    """Catch up again and again with a growing log, as the tasks of a release do."""
    log = GrowingLog(busy_log(ENTRIES).stored, length=length)
    start.wait()
    while log.grows(_AT_A_TIME):
        MlmdLedger(settings).catch_up(model, log, shared_manifest_of)
    MlmdLedger(settings).catch_up(model, log, shared_manifest_of)


def eight_writers(settings: LedgerSettings) -> None:
    """Let 8 processes record 2,000 entries, two processes on each of 4 models, and check that all are there once, in order."""
    models = [f"model-{number}" for number in range(MODELS)]
    settings = replace(settings, retry_seconds=120.0)  # on a slow disk, it is long until the turn of the last of eight
    start, lengths = _SPAWN.Barrier(WRITERS), [_SPAWN.Value("i", 0) for _ in models]
    writers = [
        _SPAWN.Process(
            target=write_in_a_child,
            args=(settings, start, models[number % MODELS], lengths[number % MODELS]),
            daemon=True,
        )
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    all_ended(*writers, within=240)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    for model in models:
        log = busy_log(ENTRIES)
        assert [str(found) for found in LedgerVerification(settings).compare(model, log, shared_manifest_of)] == []
