"""Writes a ledger of a size with the real recorder, and says how long that took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core.log import Entry
from benchmarks.lineage import floor
from benchmarks.lineage.pipelines import Source
from benchmarks.lineage.stories import StoryLog

MODELS = 20
_FLOOR_VERSIONS, _FLOOR_BATCH = 1_000, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One model in a ledger.

    :param versions: How many were pushed.
    :param entries: How many its log has.
    :param stable: The name of the version that is stable in the end.
    """

    source: Source
    versions: int
    entries: int
    stable: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLedger:
    """A ledger that was written for the benchmark.

    :param telling_seconds: The part of ``seconds`` in which the logs were generated, which a real log does not need.
    :param floor_per_second: How many entries plain sqlite3 writes on this disk.
    """

    settings: LedgerSettings
    models: tuple[Recorded, ...]
    seconds: float
    telling_seconds: float
    bytes: int
    floor_per_second: float

    @property
    def versions(self) -> int:
        """How many versions it has, over all models."""
        return sum(each.versions for each in self.models)

    @property
    def entries(self) -> int:
        """How many entries it has, over all models."""
        return sum(each.entries for each in self.models)

    @property
    def entries_per_second(self) -> float:
        """How fast the recorder wrote, without the telling."""
        return self.entries / max(self.seconds - self.telling_seconds, 1e-9)

    @property
    def file(self) -> Path:
        """The SQLite file."""
        assert self.settings.path is not None
        return self.settings.path


def write_ledger(path: Path, *, versions: int, seed: int, models: int = MODELS) -> WrittenLedger:
    """Record the stories of some models, one after the other, into a new SQLite file.

    :param versions: Over all models; shared out evenly.
    """
    settings = LedgerSettings(path=path)
    share, rest = divmod(versions, models)
    told, written = 0.0, []
    begin = time.perf_counter()
    for number in range(models):
        log = _TimedLog(Source(number=number), versions=share + (number < rest), seed=seed)
        recorded = _record(log, settings)
        told += log.seconds
        written.append(recorded)
    seconds = time.perf_counter() - begin
    size = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    return WrittenLedger(
        settings=settings,
        models=tuple(written),
        seconds=seconds,
        telling_seconds=told,
        bytes=size,
        floor_per_second=_floor(path.with_name(f"{path.name}.floor"), seed=seed),
    )


def _floor(path: Path, *, seed: int) -> float:
    story = StoryLog(Source(number=0), versions=_FLOOR_VERSIONS, seed=seed)
    try:
        return floor.write_entries(path, story.entries(), batch=_FLOOR_BATCH)
    finally:
        path.unlink(missing_ok=True)


class _TimedLog(StoryLog):
    """A story that remembers how long the telling took, and how it ended."""

    def __init__(self, source: Source, *, versions: int, seed: int) -> None:
        super().__init__(source, versions=versions, seed=seed)
        self.source, self.versions = source, versions
        self.seconds = 0.0
        self.newest: Entry | None = None
        self.stable: str | None = None

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        told = super().entries(after=after)
        while True:
            begin = time.perf_counter()
            entry = next(told, None)
            self.seconds += time.perf_counter() - begin
            if entry is None:
                return
            self.newest = entry
            if entry.state is not None:
                self.stable = entry.state.stable.name if entry.state.stable else None
            yield entry


def _record(log: _TimedLog, settings: LedgerSettings) -> Recorded:
    written = MlmdLedger(settings).catch_up(log.source.model, log, log.source.manifest_of)
    told = log.newest.sequence if log.newest else 0
    if written != told:
        raise RuntimeError(f"{log.source.model}: the recorder wrote {written} entries of {told}")
    return Recorded(source=log.source, versions=log.versions, entries=told, stable=log.stable)
