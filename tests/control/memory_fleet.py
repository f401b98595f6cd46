"""A fleet in memory whose every write is a point at which a story may stop, switch or kill the worker that makes it.

The target, its plans and its routes are the real ones; only what lies behind the ports is in memory: logs, the fleet store
with its lock, the router's files and the model server.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_model_ops.adapters.serving.envoy_documents import (
    FLEET_CLUSTER,
    control_of,
    document_clusters_used,
    document_endpoints,
    document_version,
    parse_cluster_name,
    split_of,
)
from airflow_model_ops.adapters.serving.envoy_router import RouterDocuments
from airflow_model_ops.adapters.serving.envoy_spec import Endpoint, RouterSettings
from airflow_model_ops.adapters.serving.tf_serving_client import LoadState, ServedModel, VersionStatus
from airflow_model_ops.adapters.serving.tf_serving_routes import FleetRoutes
from airflow_model_ops.adapters.serving.tf_serving_servers import Servers, ServerSettings
from airflow_model_ops.adapters.serving.tf_serving_target import TfServingTarget
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.errors import FleetBusy, RouterRefused
from airflow_model_ops.core.log import Entry, Origin
from airflow_model_ops.core.ports import Lease
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from tests.control.conftest import MemoryLog, StoryClock

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
PERSON = Actor(kind=ActorKind.PERSON, name="ada")
AUTOMATION = Actor(kind=ActorKind.AUTOMATION, name="model_release")
SERVER = "127.0.0.1:8500"

Point = Callable[[str], None]
"""Called before each write, with its name."""


def version(major: int) -> Version:
    return NAMING.parse(f"m-v{major}.0.0")


class PointedLog(MemoryLog):
    def __init__(self, point: Point) -> None:
        super().__init__()
        self._point = point

    def put_if_absent(self, entry: Entry) -> bool:
        self._point(f"log {entry.name}")
        return super().put_if_absent(entry)


class Lock:
    """The fleet lock: ``waits`` says whether one who finds it held must wait; if not, the holder has lost it."""

    def __init__(self, waits: Callable[[], bool]) -> None:
        self.holder: object | None = None
        self._waits = waits
        self._tokens = threading.local()

    @contextmanager
    def held(self) -> Iterator[None]:
        while self.holder is not None and self._waits():
            continue
        self.holder = self._tokens.mine = object()
        try:
            yield
        finally:
            if self.holder is self._tokens.mine:
                self.holder = None
            self._tokens.mine = None

    def check(self) -> None:
        mine = getattr(self._tokens, "mine", None)
        if mine is not None and self.holder is not mine:
            raise FleetBusy("the lock was lost")


@dataclass
class MemoryStore:
    point: Point
    held_lock: Lock
    documents: dict[str, bytes] = field(default_factory=dict)

    @contextmanager
    def lock(self, *, wait_seconds: float) -> Iterator[None]:
        self.point("lock")
        with self.held_lock.held():
            yield

    def read(self, name: str) -> bytes | None:
        return self.documents.get(name)

    def write(self, name: str, content: bytes) -> None:
        self.point(f"store {name}")
        self.held_lock.check()
        self.documents[name] = content


@dataclass
class MemoryRouter:
    """An Envoy that takes whatever is written last, at once.

    :ivar stuck: Whether it answers and does not take its clusters.
    """

    point: Point
    settings: RouterSettings = field(default_factory=RouterSettings)
    clusters: bytes | None = None
    routes: bytes | None = None
    stuck: bool = False

    def check(self) -> None:
        """Always there."""

    def read_documents(self) -> RouterDocuments:
        return RouterDocuments(clusters=self.clusters, routes=self.routes)

    def write_clusters(self, document: bytes) -> bool:
        if self.clusters == document:
            return False
        self.point("router clusters")
        self.clusters = document
        return True

    def write_routes(self, document: bytes) -> bool:
        if self.routes == document:
            return False
        self.point("router routes")
        self.routes = document
        return True

    def wait_clusters_active(self, names: Sequence[str], **_: Any) -> None:
        if self.stuck:
            raise RouterRefused("its clusters are not active")

    def wait_routes(self, version: str, *, deadline_seconds: float) -> None:
        if self.routes is None or document_version(self.routes) != version:
            raise RouterRefused("somebody wrote other routes meanwhile")

    def observed_split(self) -> dict[str, tuple[tuple[int, float], ...]]:
        return split_of(json.loads(self.routes)["resources"][0]) if self.routes else {}


@dataclass
class MemoryServer:
    """A TF Serving that loads and unloads at once.

    :ivar broken: Serving numbers that it cannot load.
    """

    point: Point
    broken: set[int] = field(default_factory=set)
    states: dict[str, dict[int, LoadState]] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)

    def status(self, model: str) -> dict[int, VersionStatus]:
        known = self.states.get(model, {})
        return {
            number: VersionStatus(number=number, state=LoadState.END, error_code=3)
            if number in self.broken
            else VersionStatus(number=number, state=state)
            for number, state in known.items()
        }

    def resolve_label(self, model: str, label: str) -> int | None:
        return self.labels.get(model, {}).get(label)

    def reload(self, models: Sequence[ServedModel], **_: Any) -> None:
        self.point("server reload")
        listed = {model.name: model for model in models}
        for name in {*self.states, *listed}:
            wanted = listed[name].versions if name in listed else ()
            known = self.states.setdefault(name, {})
            self.states[name] = {n: LoadState.AVAILABLE if n in wanted else LoadState.END for n in {*known, *wanted}}
        self.labels = {name: dict(model.labels) for name, model in listed.items()}

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class MemoryRepository:
    """The parts of a repository that controls need."""

    logs: dict[str, PointedLog]
    store: MemoryStore
    held_leases: dict[tuple[str, str], Lease] = field(default_factory=dict)

    def models(self) -> tuple[str, ...]:
        return tuple(sorted(self.logs))

    def log(self, model: str) -> PointedLog:
        return self.logs[model]

    def fleet(self, fleet: str) -> MemoryStore:
        return self.store

    def check_files(self, model: str, version: Version) -> None:
        """Every version's files are there."""

    def manifest(self, model: str, version: Version) -> None:
        """There is one of every version."""

    def verify(self, model: str, version: Version) -> None:
        """Every version is as it was pushed."""

    def refresh_links(self, model: str, state: ServingState) -> None:
        """There are no links in memory."""

    def write_lease(self, model: str, lease: Lease) -> None:
        self.held_leases[model, lease.release] = lease

    def end_lease(self, model: str, fence: Fence) -> None:
        self.held_leases.pop((model, fence.release), None)

    def leases(self, model: str) -> tuple[Lease, ...]:
        return tuple(lease for (name, _), lease in self.held_leases.items() if name == model)


class MemoryFleet:
    """All of it.

    :param point: Called before each write.
    :param waits: Called by one who finds the lock held: whether to go on waiting, or to take it from its holder.
    """

    def __init__(self, *, models: Sequence[str] = ("digits",), point: Point, waits: Callable[[], bool]) -> None:
        self._point = point
        self.clock = StoryClock()
        self.server = MemoryServer(self._reach)
        self.router = MemoryRouter(self._reach)
        store = MemoryStore(self._reach, Lock(waits))
        self.repository = MemoryRepository({model: PointedLog(self._reach) for model in models}, store)

    def _reach(self, name: str) -> None:
        self._point(name)

    def control(self, *, model: str = "digits", actor: Actor = AUTOMATION) -> ModelControl:
        """The controls of a worker of its own."""
        servers = Servers(
            store=self.repository.store,
            replicas=(),
            settings=ServerSettings(models_root="/models", declared_empty=True),
        )
        servers._clients = {SERVER: self.server}  # type: ignore[dict-item]
        routes = FleetRoutes(
            store=self.repository.store,
            router=self.router,  # type: ignore[arg-type]
            rest={SERVER: Endpoint("127.0.0.1", 8501)},
            confirm_seconds=1,
        )
        return ModelControl(
            model=model,
            naming=NAMING,
            repository=self.repository,  # type: ignore[arg-type]
            target=TfServingTarget(servers=servers, routes=routes),
            initial=ServingState(fleet="main", keep_warm=2),
            origin=Origin(actor=actor),
            clock=self.clock,
        )

    def split(self, model: str = "digits") -> dict[int, float]:
        return dict(self.router.observed_split().get(model, ()))

    def unavailable(self, model: str = "digits") -> set[int]:
        """Versions that get traffic and are not loaded, or whose cluster or control cluster the router lacks."""
        states = self.server.states.get(model, {})
        cold = {number for number in self.split(model) if states.get(number) is not LoadState.AVAILABLE}
        used = document_clusters_used(self.router.routes) if self.router.routes else frozenset()
        there = document_endpoints(self.router.clusters).keys() if self.router.clusters else ()
        lost = [parse_cluster_name(name) for name in used - {FLEET_CLUSTER} if name not in there]
        return cold.union(cluster.number for cluster in lost if cluster.model == model)

    def control_share(self, model: str = "digits") -> float:
        """Percent that takes the way over the control cluster."""
        return control_of(json.loads(self.router.routes)["resources"][0])[model] if self.router.routes else 0.0

    def snapshot(self) -> Mapping[str, Any]:
        return copy.deepcopy(
            {
                "logs": {model: log.stored for model, log in self.repository.logs.items()},
                "leases": self.repository.held_leases,
                "documents": self.repository.store.documents,
                "router": (self.router.clusters, self.router.routes),
                "server": (self.server.states, self.server.labels),
            }
        )

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        kept = copy.deepcopy(dict(snapshot))
        for model, stored in kept["logs"].items():
            self.repository.logs[model].stored = stored
        self.repository.held_leases = kept["leases"]
        self.repository.store.documents = kept["documents"]
        self.router.clusters, self.router.routes = kept["router"]
        self.server.states, self.server.labels = kept["server"]
