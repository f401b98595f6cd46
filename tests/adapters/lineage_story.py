"""A model's log as a story, for the ledger's tests: deterministic, so that every process can tell the same one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.lineage import recorder
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore, PutIds
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core import transitions
from airflow_model_ops.core.errors import VersionNotFound
from airflow_model_ops.core.log import Entry, FactKind, Origin, fact, transition
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.state import Actor, ActorKind, Fence, LiveRelease, ServingState
from airflow_model_ops.core.transitions import Decision
from airflow_model_ops.core.versioning import Version, VersionNaming

NAMING = VersionNaming()
V1, V2 = NAMING.parse("v-20230601-120000"), NAMING.parse("v-20230602-120000")
START = datetime(2023, 6, 2, 14, 0, tzinfo=UTC)
AUTOMATION = Actor(kind=ActorKind.AUTOMATION, name="model_release")
ADA = Actor(kind=ActorKind.PERSON, name="ada")
RUN = {"dag_id": "model_release", "run_id": "manual__2023-06-02", "task_id": "canary", "try": "1"}
ROLLBACK_REASON = 'C:\\new\\path said "5 % wrong" — größer als erlaubt 🙈 ' + "and on and on, " * 400


class ListLog:
    """A log in memory."""

    def __init__(self, entries: list[Entry]) -> None:
        self.stored = entries

    def last(self) -> Entry | None:
        return self.stored[-1] if self.stored else None

    def read(self, sequence: int) -> Entry | None:
        return self.stored[sequence - 1] if 0 < sequence <= len(self.stored) else None

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        yield from self.stored[after:]

    def put_if_absent(self, entry: Entry) -> bool:
        if entry.sequence != len(self.stored) + 1:
            return False
        self.stored.append(entry)
        return True


@dataclass
class Story:
    """Writes entries one minute apart."""

    log: ListLog = field(default_factory=lambda: ListLog([]))
    state: ServingState = field(default_factory=lambda: ServingState(fleet="main"))

    def happens(
        self, kind: FactKind, version: Version | None, reason: str, *, run: Mapping[str, str] = RUN, **more: Any
    ) -> None:
        origin = Origin(actor=AUTOMATION, run=run)
        self._add(
            lambda at, write_id: fact(
                kind, reason=reason, origin=origin, at=at, write_id=write_id, version=version, **more
            )
        )

    def decides(self, decision: Decision, *, actor: Actor = AUTOMATION, release: Fence | None = None) -> None:
        origin = Origin(actor=actor, run={} if actor.is_person else RUN)
        self._add(lambda at, write_id: transition(decision, origin=origin, at=at, write_id=write_id, release=release))
        self.state = decision.state

    def is_applied(self) -> None:
        last = self.log.stored[-1]
        split = {str(version.number): percent for version, percent in self.state.split}
        detail = {"generation": last.generation, "split": split}
        self.happens(
            FactKind.APPLIED, last.version, f"generation {last.generation} serves", release=last.release, detail=detail
        )

    def releases(self, version: Version, *, id: str, steps: tuple[float, ...]) -> None:  # noqa: A002 (the field's name)
        fence = Fence(release=id, attempt=1)
        live = LiveRelease(id=id, attempt=1, version=version, started_at=START.isoformat())
        self.happens(FactKind.PUSHED, version, f"{version} pushed", detail={"digest": manifest_of(version).digest})
        self.happens(FactKind.VALIDATED, version, "accuracy 0.97", detail={"blessed": True})
        self.decides(transitions.start_canary(self.state, release=live, percent=steps[0]), release=fence)
        self.is_applied()
        for percent in steps[1:]:
            self.decides(transitions.shift(self.state, fence=fence, percent=percent), release=fence)
            self.is_applied()
        self.happens(
            FactKind.VERDICT,
            version,
            "shown safe",
            release=fence,
            evidence=f"evidence/{id}/1.json",
            detail={"verdict": "SAFE", "path": "C:\\counts"},
        )
        self.decides(transitions.promote(self.state, fence=fence, version=version, proof="shown safe"), release=fence)
        self.is_applied()

    def _add(self, make: Callable[[str, str], Entry]) -> None:
        place = len(self.log.stored)
        at = (START + timedelta(minutes=place)).isoformat(timespec="milliseconds")
        # From bytes, as a repository gives it.
        entry = make(at, f"{place:032x}").after(self.log.last())
        self.log.stored.append(Entry.from_bytes(entry.to_bytes()))


def told() -> Story:
    """Two releases, then a person rolls the second back and quarantines it: 19 entries."""
    story = Story()
    story.releases(V1, id="r1", steps=(100.0,))
    story.releases(V2, id="r2", steps=(5.0, 50.0))
    story.decides(transitions.rollback(story.state, reason=ROLLBACK_REASON, actor=ADA), actor=ADA)
    story.is_applied()
    story.decides(transitions.quarantine(story.state, version=V2, reason="harmed"), actor=ADA)
    return story


def long_log(entries: int) -> ListLog:
    """A log of many verdicts, for tests that need writers at work for a while."""
    story = Story()
    for number in range(entries):
        story.happens(FactKind.VERDICT, None, f"verdict {number}", detail={"verdict": "UNDECIDED"})
    return story.log


def manifest_of(version: Version) -> Manifest:
    if version not in {V1, V2}:
        raise VersionNotFound(f"no manifest of {version}")
    return Manifest(
        version=version,
        digest=f"{version.number % 97:064x}",
        files={"saved_model.pb": "0" * 64},
        size=1234,
        created="2023-06-01T12:00:00+00:00",
        source={"path": "C:\\exports\\1", "run": "größe"},
        dataset_version="digits@7",
        hyperparameters={"units": 64, "rate": 0.001},
        metrics={"accuracy": 0.97},
    )


def catch_up_in_a_child(path: Path, entries: int) -> None:
    """For a child process: record the told story, or a long log if ``entries`` is given."""
    log = long_log(entries) if entries else told().log
    MlmdLedger(LedgerSettings(path=path, retry_seconds=120.0)).catch_up("digits", log, manifest_of)


class DyingStore(LedgerStore):
    """A store whose writer is killed before it writes once too often."""

    writes_left = 0

    def put(self, **sent: Any) -> PutIds | None:
        if not self.writes_left:
            os.kill(os.getpid(), signal.SIGKILL)
        DyingStore.writes_left -= 1
        return super().put(**sent)


class UnendingLog(ListLog):
    """A log whose reader never comes to its end: it waits there to be killed."""

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        yield from self.stored[after:-1]
        signal.pause()


class UnhurriedStore(LedgerStore):
    """A store that leaves others time between two transactions, however fast the machine is."""

    def put(self, **sent: Any) -> PutIds | None:
        time.sleep(0.05)
        return super().put(**sent)


def catch_up_unhurried_in_a_child(path: Path, entries: int) -> None:
    """For a child process: record a long log so slowly that somebody sees its first entries; it never comes to the last one."""
    recorder.LedgerStore = UnhurriedStore  # type: ignore[misc]
    MlmdLedger(LedgerSettings(path=path)).catch_up("digits", UnendingLog(long_log(entries).stored), manifest_of)


def die_in_a_child(path: Path, after: int) -> None:
    """For a child process: be killed between two transactions."""
    DyingStore.writes_left = after
    recorder.LedgerStore = DyingStore  # type: ignore[misc]
    MlmdLedger(LedgerSettings(path=path)).catch_up("digits", told().log, manifest_of)


def record_one_by_one(settings: LedgerSettings, model: str, log: ListLog) -> None:
    """Record a log as it grows: after each entry, and each time once more, as a retried task does."""
    for length in range(1, len(log.stored) + 1):
        for _ in range(2):
            MlmdLedger(settings).catch_up(model, ListLog(log.stored[:length]), manifest_of)
