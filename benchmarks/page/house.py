"""Writes a repository with many models and versions as years of releases leave it, a ledger beside it, and the YAML files."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow_model_ops.adapters.repository.file_names import entry_name
from airflow_model_ops.adapters.repository.manifests import StoredManifest
from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.control.evidence_book import EvidenceBook, Position
from airflow_model_ops.control.heads import fleet_plan, read_heads
from airflow_model_ops.core import transitions
from airflow_model_ops.core.checks import Evidence, Measurement
from airflow_model_ops.core.judge.record import Opening
from airflow_model_ops.core.log import Entry, FactKind, Origin, fact, transition
from airflow_model_ops.core.state import Actor, ActorKind, Fence, LiveRelease
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.testing import InMemoryTarget
from benchmarks.lineage.pipelines import Source
from benchmarks.lineage.stories import StoryLog
from benchmarks.page.ledger import write_ledger

LIVE_EVERY = 20
"""One model in so many has a live canary with kept evidence."""
INTERVALS = 30
_YAML = """
model: {model}
canary:
  steps: [{{percent: 10, bake: 10m}}, {{percent: 50, bake: 10m}}]
checks:
  - {{name: errors, kind: error_rate}}
  - {{name: slow, kind: latency, latency_bound_ms: 200}}
"""
USERS = {"admin": "ADMIN", "stranger": None}
"""``stranger`` is signed in and may see nothing."""
_RELEASER = Actor(kind=ActorKind.AUTOMATION, name="model_release")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Where everything is, and how much there is.

    :param recorded: How many models the recorder has written into the ledger; the others are copies of their rows.
    """

    root: Path
    models_dir: Path
    ledger: Path
    models: list[str]
    live: list[str]
    entries: int
    versions: int
    recorded: int
    seconds: float


def write_house(directory: Path, *, models: int, versions: int, recorded: int, seed: int) -> House:
    """Write it all: about 1 ms a version for the repository, 10 ms for the ledger.

    :param versions: Over all models; shared out evenly.
    :param recorded: How many models are recorded; the others' rows in the ledger are copies.
    """
    begin = time.perf_counter()
    root, models_dir = directory / "repository", directory / "models"
    root.mkdir(parents=True)
    models_dir.mkdir()
    share, rest = divmod(versions, models)
    entries, names, live = 0, [], []
    for number in range(models):
        source, pushed = Source(number=number), share + (number < rest)
        names.append(source.model)
        (models_dir / f"{source.model}.yaml").write_text(_YAML.format(model=source.model))
        last, count = _write_log(root / source.model, source, versions=pushed, seed=seed)
        entries += count
        if number % LIVE_EVERY == 0:
            live.append(source.model)
            _go_live(PosixRepository(root), source, ordinal=pushed, last=last)
    ledger = directory / "ledger.sqlite"
    write_ledger(ledger, PosixRepository(root), names, recorded=recorded)
    return House(
        root=root,
        models_dir=models_dir,
        ledger=ledger,
        models=names,
        live=live,
        entries=entries,
        versions=versions,
        recorded=recorded,
        seconds=time.perf_counter() - begin,
    )


def _write_log(place: Path, source: Source, *, versions: int, seed: int) -> tuple[Entry, int]:
    """Write a story's entries and manifests as the repository would, without syncing each; return the last and how many."""
    log, manifests = place / "log", place / "manifests"
    log.mkdir(parents=True)
    manifests.mkdir()
    (place / "versions").mkdir()
    last: Entry | None = None
    for entry in StoryLog(source, versions=versions, seed=seed).entries():
        (log / entry_name(entry.sequence)).write_bytes(entry.to_bytes())
        last = entry
    for ordinal in range(versions):
        _write_manifest(manifests, source, source.version(ordinal))
    assert last is not None
    (log / ".newest").write_text(str(last.sequence))
    return last, last.sequence


def _write_manifest(directory: Path, source: Source, version: Version) -> None:
    stored = StoredManifest(manifest=source.manifest_of(version), staged="")
    (directory / f"{version.name}.json").write_bytes(stored.to_bytes())


def _go_live(repository: PosixRepository, source: Source, *, ordinal: int, last: Entry) -> None:
    """Let a canary be live at 10 %, judged for some intervals and undecided."""
    version, log = source.version(ordinal), repository.log(source.model)
    head = log.read(last.generation)
    assert head is not None
    assert head.state is not None
    fence = Fence(release=f"model_release_{source.model}/manual__{ordinal}", attempt=1)
    _write_manifest(Path(repository.uri.removeprefix("file://")) / source.model / "manifests", source, version)
    started = datetime.fromisoformat(last.at) + timedelta(minutes=1)
    release = LiveRelease(id=fence.release, attempt=1, version=version, started_at=started.isoformat())
    decision = transitions.start_canary(head.state, release=release, percent=10)
    run = {"dag_id": f"model_release_{source.model}", "run_id": f"manual__{ordinal}", "task_id": "load", "try": "1"}
    origin = Origin(actor=_RELEASER, run=run)
    start = transition(decision, origin=origin, at=started.isoformat(), write_id="live", release=fence).after(last)
    log.put_if_absent(start)
    split = {str(each.number): percent for each, percent in decision.state.split}
    detail = {"generation": start.sequence, "split": split}
    applied = fact(FactKind.APPLIED, reason="serves", origin=origin, at=start.at, write_id="applied", detail=detail)
    log.put_if_absent(applied.after(start))
    _judge(repository, source.model, fence, started=started)


def _judge(repository: PosixRepository, model: str, fence: Fence, *, started: datetime) -> None:
    policy = parse_model_file(_YAML.format(model=model)).policy()
    book = EvidenceBook(repository, model=model, fence=fence)
    opening = Opening(checks=policy.checks, settings=policy.judge, has_stable=True)
    at = started.timestamp()
    book.begin(opening, Position(step=0, started_at=at, deadline_from=at), percent=10)
    for interval in range(INTERVALS):
        begin, end = (datetime.fromtimestamp(at + 15 * (interval + passed), UTC).isoformat() for passed in (0, 1))
        book.add(
            tuple(
                Evidence(check=check.name, canary=_counted(20), stable=_counted(180), begin=begin, at=end)
                for check in policy.checks
            )
        )


def _counted(requests: int) -> Measurement:
    return Measurement(value=0.05, samples=requests, age_seconds=0.0, bad=requests // 20)


def serving(repository: PosixRepository) -> InMemoryTarget:
    """Return a fleet that serves what all heads want."""
    target = InMemoryTarget(servers=("server-1", "server-2"))
    plan = fleet_plan(read_heads(repository, fleet="main"), fleet="main", now=time.time())
    target.apply(plan, focus=frozenset(plan.models))
    return target


def airflow_settings(house: House, *, home: Path) -> Mapping[str, str]:
    """Return Airflow's settings as environment variables."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role or ''}" for name, role in USERS.items()),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__API_AUTH__JWT_SECRET": "of-a-benchmark-" * 5,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__MODEL_OPS__MODELS_DIR": str(house.models_dir),
        "AIRFLOW_CONN_MLMD_DEFAULT": json.dumps({"conn_type": "mlmd", "extra": {"path": str(house.ledger)}}),
    }
