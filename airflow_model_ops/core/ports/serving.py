"""A serving platform: what it should serve, what one pass achieved, and what really serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_model_ops.core.state import GOLDEN, ServingState
from airflow_model_ops.core.versioning import Version


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
