"""What core and control ask of the outside world. Adapters implement these; tests use the fakes of ``testing.py``.

Every method says whether it may touch the network and what a repetition does. Errors are those of
:mod:`airflow_model_ops.core.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from airflow_model_ops.core.checks import Arms, Check, Evidence
from airflow_model_ops.core.curves import Curve
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.state import GOLDEN, Fence, ServingState
from airflow_model_ops.core.versioning import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """A SavedModel directory to store, and what is known about it.

    :param created: The moment the version is named after and stamped with, ISO 8601 in UTC; fixed per run, so that a
        retried push finds its own first try.
    :param source: Where the model comes from: a path, an XCom, a pipeline run; JSON.
    """

    directory: Path
    created: str
    source: Mapping[str, Any] = field(default_factory=dict)
    dataset_version: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a version is made of.

    :param digest: SHA-256 over all files' names and digests, in hex: equal content has an equal digest.
    :param files: Relative POSIX path to SHA-256 in hex.
    :param size: Total size of the files in bytes.
    """

    version: Version
    digest: str
    files: Mapping[str, str]
    size: int
    created: str
    source: Mapping[str, Any] = field(default_factory=dict)
    dataset_version: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVersion:
    """What a repository has under the name of a version that was pushed once.

    :param manifest: ``None``: it cannot be read.
    :param retired: Whether its files were deleted, or are about to be.
    :param fault: Why the manifest cannot be read.
    """

    manifest: Manifest | None
    retired: bool = False
    fault: str | None = None


LONGEST_LEASE_SECONDS = 120.0
"""No lease lasts longer from when it was written; what claims more is a wrong clock or an odd file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A promise that an attempt is being looked after until a moment; its holder renews it.

    :param until: Seconds since the epoch.
    :param waiting: Whether the release still waits for its turn.
    """

    release: str
    attempt: int
    version: Version
    until: float
    waiting: bool = False


class Log(Protocol):
    """The append-only log of one model. May touch the network (object storage)."""

    def last(self) -> Entry | None:
        """Return the newest entry, or ``None`` for an empty log."""
        ...

    def read(self, sequence: int) -> Entry | None:
        """Return one entry, or ``None`` if there is none with that number."""
        ...

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Yield the entries with a higher number, oldest first."""
        ...

    def put_if_absent(self, entry: Entry) -> bool:
        """Store an entry under its sequence number unless there is one; return whether this write won."""
        ...


class FleetStore(Protocol):
    """What is kept of one fleet beside the logs: its lock and the documents last derived for it."""

    def lock(self, *, wait_seconds: float) -> AbstractContextManager[None]:
        """Hold the fleet lock; it falls to the next one by itself when its holder dies.

        :raises FleetBusy: if another worker holds it for longer than ``wait_seconds``.
        """
        ...

    def read(self, name: str) -> bytes | None:
        """Return a document, or ``None`` if it was never written."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace a document atomically."""
        ...


class Repository(Protocol):
    """Where versions, manifests and logs are kept. Safe for several processes at once."""

    @property
    def uri(self) -> str:
        """Where it is, e.g. ``file:///srv/models``; touches no network."""
        ...

    def models(self) -> tuple[str, ...]:
        """Return the names of all models that have a log or a version, sorted."""
        ...

    def log(self, model: str) -> Log:
        """Return the log of a model; it may be empty."""
        ...

    def fleet(self, fleet: str) -> FleetStore:
        """Return what is kept of a fleet."""
        ...

    def push(self, model: str, version: Version, request: PushRequest) -> Manifest:
        """Store a version, complete or not at all. Same name and same content: adopts what is there.

        A directory that already is the version's place is taken over as it is, without a copy.

        :raises NotASavedModel: if the directory is not one, or a link leads out of it.
        :raises VersionExists: if the name is taken by other content.
        """
        ...

    def is_place(self, model: str, version: Version, directory: Path) -> bool:
        """Return whether a directory is the very one in which a version's files belong."""
        ...

    def digest_of(self, directory: Path) -> str:
        """Return the digest a directory would have as a version.

        :raises NotASavedModel: if the directory is not a SavedModel, or a link leads out of it.
        """
        ...

    def manifest(self, model: str, version: Version) -> Manifest:
        """Return a version's manifest; it outlives the files.

        :raises VersionNotFound: if there is none.
        """
        ...

    def versions(self, model: str) -> tuple[Version, ...]:
        """Return the versions whose files are there, lowest number first."""
        ...

    def version_names(self, model: str) -> tuple[str, ...]:
        """Return the names of all versions that were ever pushed, deleted ones too, in no order: one listing, no file is read."""
        ...

    def known_versions(self, model: str, names: Collection[str]) -> Mapping[str, KnownVersion]:
        """Return what is kept of some versions, whether their files are there or not; without one that was never pushed.

        One manifest that cannot be read hides none of the others.
        """
        ...

    def check_files(self, model: str, version: Version) -> None:
        """Check that a version's files are there, without reading them.

        :raises VersionNotFound: if they are not.
        """
        ...

    def version_uri(self, model: str, version: Version) -> str:
        """Return where a version's files are, or would be, e.g. ``gs://bucket/models/digits/versions/20230601120000``."""
        ...

    def local_files(self, model: str, version: Version) -> AbstractContextManager[Path]:
        """Give a directory on this machine that holds a version's files, for as long as the context lasts. Never write to it.

        On a file system that is the version's own place; from object storage the files are fetched.

        :raises VersionNotFound: if its files are not there.
        """
        ...

    def verify(self, model: str, version: Version) -> None:
        """Hash a version's files again and compare them with its manifest.

        :raises VersionNotFound: if the files are gone.
        :raises VersionAltered: if one is missing, added or different.
        """
        ...

    def delete(self, model: str, version: Version) -> None:
        """Delete a version's files: renamed out of sight first; the manifest stays. Repeating it changes nothing."""
        ...

    def refresh_links(self, model: str, state: ServingState) -> None:
        """Point the links ``stable``, ``canary`` and ``golden`` to what the state says, each atomically."""
        ...

    def write_lease(self, model: str, lease: Lease) -> None:
        """Write or renew the lease of a release."""
        ...

    def end_lease(self, model: str, fence: Fence) -> None:
        """Remove the lease of a release unless a newer attempt holds it."""
        ...

    def leases(self, model: str) -> tuple[Lease, ...]:
        """Return all leases of a model, run out or not."""
        ...

    def write_evidence(self, model: str, release: str, name: str, content: bytes) -> str:
        """Keep evidence of a release; return the reference that a log entry carries."""
        ...

    def read_evidence(self, model: str, release: str, name: str) -> bytes | None:
        """Return evidence that was kept, or ``None``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """What one model of a fleet should serve.

    :param generation: The head's generation.
    :param spare: Versions that the last two generations name; they are not unloaded.
    :param pins: Whether the head is the pinning of its golden version, which must be loaded then.
    :param applied: Whether the log says that the head is applied.
    :param settled_seconds: Seconds since the head was applied; 0 if it is not.
    """

    model: str
    generation: int
    state: ServingState
    spare: tuple[Version, ...]
    urgent: bool
    applied: bool
    pins: bool = False
    settled_seconds: float = 0.0

    @property
    def needed(self) -> tuple[Version, ...]:
        """What must be available before the head counts as applied: stable, canary, split; on a way back the split alone.

        Golden only while it is being pinned: a last resort that cannot be loaded any longer must not stop a release.
        """
        split = tuple(version for version, _ in self.state.split)
        if self.urgent:
            return split
        needed = {version for label, version in self.state.labels.items() if self.pins or label != GOLDEN}
        return tuple(sorted(needed.union(split)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """The heads of all models of one fleet, from which a target derives its full documents."""

    fleet: str
    models: Mapping[str, ModelPlan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one pass over a fleet achieved.

    :param applied: Models whose traffic is confirmed to follow their plan: the confirmed split, number to percent.
    :param pending: Models that need another pass, with the reason.
    :param failed: Models that no further pass will bring to their plan, with the error.
    """

    applied: Mapping[str, Mapping[str, float]]
    pending: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, Exception] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What really serves of one model.

    :param generation: The generation that the router's present route was derived from; ``None`` if it has none.
    :param split: Serving number to percent, as every router has it now.
    :param loaded: Per server: the numbers that are available on it; ``None`` for a server that does not answer.
    :param labels: Label to serving number, as the servers resolve them.
    """

    generation: int | None
    split: Mapping[int, float]
    loaded: Mapping[str, frozenset[int] | None]
    labels: Mapping[str, int | None] = field(default_factory=dict)


class Target(Protocol):
    """A serving platform. One pass never waits for a load; callers hold the fleet lock during a pass and repeat it."""

    @property
    def loads_slowly(self) -> bool:
        """Whether a load takes minutes, as where machines are started for it: then no worker should wait for one."""
        ...

    def check(self) -> None:
        """Check that every server and router answers, before a change is committed.

        :raises ServerUnreachable: or RouterUnreachable, naming the one that does not.
        """
        ...

    def apply(self, plan: FleetPlan, *, focus: frozenset[str]) -> Progress:
        """Drive the fleet one pass towards the plan, with full documents; look closely at the models in ``focus`` only.

        :raises FleetNotAdopted: if the fleet may serve models that the plan does not know.
        """
        ...

    def unload(self, plan: FleetPlan) -> Mapping[str, frozenset[int]]:
        """Un-list what no plan names, one pass; return the numbers a server still lists or unloads, per model."""
        ...

    def observe(self, model: str) -> Observed:
        """Return what really serves of a model."""
        ...

    def astray(self, plan: FleetPlan) -> Mapping[str, str]:
        """Return the models of which an answering server lacks a version or a label, each with the reason.

        A version that loads, or that a server could not load, is not lacking: no pass would change that.
        """
        ...

    def is_loaded(self, model: str, version: Version) -> bool:
        """Return whether a version is available on every server that answers, and at least one does. Never raises."""
        ...

    def document_generations(self) -> Mapping[str, int]:
        """Return the generation of each model that the present documents were derived from; cheap enough for every few seconds.

        Reads files, or asks the platform once where that keeps the generation itself.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model that a fleet serves and that its configuration file names.

    :param base_path: Where its version directories are, as the servers see it.
    :param available: Numbers that are available on at least one server.
    :param everywhere: Numbers that are available on every server.
    :param labels: Label to number, as every server resolves it.
    :param directories: Number to its directory, as a path on this machine or as a URL of object storage, for all that are
        there, loaded or not.
    :param faults: Why its entry cannot be taken over as it is; it can stay foreign.
    :param notes: What taking it over changes, for people.
    :param managed: Whether the list last sent by us names it as ours.
    """

    name: str
    base_path: str
    available: frozenset[int]
    everywhere: frozenset[int]
    labels: Mapping[str, int] = field(default_factory=dict)
    directories: Mapping[int, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    managed: bool = False


class ServedFleet(Protocol):
    """A fleet that serves already and is taken over. Nothing here changes what a server has loaded."""

    def find(self) -> tuple[FoundModel, ...]:
        """Return every model of the configuration file, sorted by name. Touches the network.

        :raises ServerUnreachable: if a server does not answer: what it serves would stay unknown.
        """
        ...

    def keep(self, ours: Mapping[str, FoundModel]) -> tuple[str, ...]:
        """Keep the list of all models, so that every later one goes on with them; return the names of the foreign ones.

        Callers hold the fleet lock. Repeating it changes nothing; what the present list names stays in it.
        """
        ...

    def mark_adopted(self, note: Mapping[str, Any]) -> None:
        """Mark the fleet as adopted: from now on it may be applied."""
        ...


class Ledger(Protocol):
    """ML Metadata as a projection of the logs."""

    def catch_up(self, model: str, log: Log, manifest_of: Callable[[Version], Manifest]) -> int:
        """Record the entries that are missing, in order, each exactly once; return how many."""
        ...


class MetricSource(Protocol):
    """Where checks are measured. It answers and never judges; that it cannot answer is an answer too."""

    def delay_seconds(self, check: Check) -> float:
        """Return how long after an event it may come to be counted: a window that is to be full ends that long ago."""
        ...

    def gather(self, check: Check, *, model: str, arms: Arms, begin: float, after: str | None) -> Evidence:
        """Count, or measure, all arms over one interval. Touches the network; trouble comes back inside the evidence.

        :param begin: When the present split was applied, seconds since the epoch on the caller's clock: nothing from
            before is counted, nor a pair of scrapes that spans it.
        :param after: ``at`` of this check's evidence before, so that every event is counted once; ``None`` for the first.
        """
        ...

    def history(
        self, check: Check, *, model: str, arms: Arms, start: float, end: float, step_seconds: float
    ) -> tuple[Evidence, ...]:
        """Count the same over the past, in consecutive steps. Touches the network.

        :param start: Seconds since the epoch, as ``end``.
        :raises MetricsUnavailable: if the source does not answer.
        """
        ...

    def ping(self) -> str:
        """Say that it answers. Touches the network.

        :raises MetricsUnavailable: if it does not.
        """
        ...


@runtime_checkable
class CurveSource(Protocol):
    """A metric source that also tells figures over time, to look at. Not every one does."""

    def curves(self, *, model: str, versions: Mapping[str, Arms], seconds: float) -> tuple[Curve, ...]:
        """Return what versions did in the past seconds, a curve for each metric. Touches the network.

        :param versions: By name, each with all its groups.
        :raises MetricsUnavailable: if the source does not answer.
        """
        ...


class Clock(Protocol):
    """Time as control sees it; tests use their own."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
