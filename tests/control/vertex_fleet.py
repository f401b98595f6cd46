"""An endpoint of Vertex AI in memory whose every write is a point at which a story may stop, switch or kill its worker.

The target and its plans are the real ones, and the service is the fake that the real clients are tested against; only the wire
between them is left out, for thousands of runs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from google.api_core import exceptions
from google.longrunning import operations_pb2

from airflow_model_ops.adapters.serving.vertex_clients import VertexAccess, VertexClients
from airflow_model_ops.adapters.serving.vertex_operations import Patience
from airflow_model_ops.adapters.serving.vertex_settings import VertexSettings
from airflow_model_ops.adapters.serving.vertex_target import VertexAITarget
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ServingState
from airflow_model_ops.core.versioning import Version
from tests.adapters.vertex_story import ENDPOINT, MODEL, PARENT, id_of
from tests.control.conftest import StoryClock
from tests.control.memory_fleet import AUTOMATION, NAMING, Lock, MemoryRepository, MemoryStore, Point, PointedLog
from tests.vertex_fake.control import Control
from tests.vertex_fake.desk import Desk
from tests.vertex_fake.methods import BY_NAME
from tests.vertex_fake.refusal import ConnectionLost, Refused
from tests.vertex_fake.state import State


class StoryTime:
    """The service's clock, in the story's hand."""

    def __init__(self, clock: StoryClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def monotonic(self) -> float:
        return self._clock.now()


class WorkersClock:
    """What workers take for the time: the story's clock, or ahead of it, or behind.

    :ivar ahead: Seconds.
    """

    def __init__(self, clock: StoryClock) -> None:
        self._clock = clock
        self.ahead = 0.0

    def now(self) -> float:
        return self._clock.now() + self.ahead

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


class _Service:
    """A generated client's methods, without a wire."""

    def __init__(self, call: Callable[[str, Any], Any]) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = "".join(part.capitalize() for part in name.split("_"))
        return lambda request, timeout=None, retry=None: self._call(method, request)


class DirectClients(VertexClients):
    """Asks the service without a wire; each change is a point before it is made, and one before its answer is seen."""

    def __init__(self, desk: Desk, point: Point) -> None:
        super().__init__(VertexAccess(location="europe-west4"))
        self._desk, self._point = desk, point
        self.__dict__["endpoints"] = self.__dict__["models"] = _Service(self._asked)

    def close(self) -> None:
        """Nothing is open."""

    def _asked(self, name: str, request: Any) -> Any:
        method = BY_NAME[name]
        if method.mutating:
            self._point(name)
        try:
            answer = self._desk.call(method, method.request(**request), transport="none", path="", authorization=None)
        except Refused as refused:
            raise exceptions.from_grpc_status(_code(refused.code), refused.message) from refused
        except ConnectionLost as lost:
            raise exceptions.ServiceUnavailable("Socket closed") from lost
        if method.mutating:
            self._point(f"{name} answered")
        if isinstance(answer, operations_pb2.Operation) and method.mutating:
            return SimpleNamespace(operation=answer)
        return answer


def _code(name: str) -> Any:
    import grpc

    return grpc.StatusCode[name]


class VertexFleet:
    """One model's endpoint, its log and its fleet store.

    :param point: Called before each write, with its name.
    :param waits: Called by one who finds the lock held: whether to go on waiting, or to take it from its holder.
    """

    def __init__(self, *, point: Point = lambda _: None, waits: Callable[[], bool] = lambda: False) -> None:
        self._point = point
        self.clock = StoryClock()
        self.workers_clock = WorkersClock(self.clock)
        self.state = State(clock=StoryTime(self.clock))
        self.fake = Control(self.state)
        self.fake.duration("*", 0.0)
        self._desk = Desk(self.state)
        self.store = MemoryStore(point, Lock(waits))
        self.repository = MemoryRepository({MODEL: PointedLog(point)}, self.store)

    def target(self) -> VertexAITarget:
        """The target of a worker of its own."""
        return VertexAITarget(
            settings=VertexSettings(
                project="p",
                location="europe-west4",
                model=MODEL,
                registry_model=MODEL,
                endpoint=MODEL,
                declared_empty=True,
                drain_seconds=5.0,
            ),
            clients=DirectClients(self._desk, self._point),
            store=self.store,
            uri_of=lambda which: f"gs://models/{MODEL}/versions/{which.number}",
            root_uri="gs://models",
            patience=Patience(poll=0.0),
            now=self.workers_clock.now,
        )

    def control(self, *, actor: Actor = AUTOMATION) -> ModelControl:
        """The controls of a worker of its own."""
        return ModelControl(
            model=MODEL,
            naming=NAMING,
            repository=self.repository,  # type: ignore[arg-type]
            target=self.target(),
            initial=ServingState(fleet="main", keep_warm=1),
            origin=Origin(actor=actor),
            clock=self.workers_clock,
        )

    def split(self) -> dict[str, int]:
        """Deployment id to percent, without those that get nothing."""
        if ENDPOINT not in {each.name for each in self.state.endpoints.all}:
            return {}
        found = self.fake.endpoint(ENDPOINT).get("traffic_split", {})
        return {str(id_): int(percent) for id_, percent in found.items() if percent}

    def deployed(self) -> set[str]:
        """Ids of what is deployed."""
        if ENDPOINT not in {each.name for each in self.state.endpoints.all}:
            return set()
        return {each["id"] for each in self.fake.endpoint(ENDPOINT).get("deployed_models", [])}

    def uploads(self) -> dict[str, int]:
        """How many registry versions there are of each of our versions."""
        parent = self.state.models._parents.get(PARENT)
        made = [each.version_description for each in parent.versions.values()] if parent else []
        return {name: made.count(name) for name in made}

    def made(self, *, after: int = 0) -> list[str]:
        """The methods of the changes that were taken, in order."""
        return [each["method"] for each in self.fake.log(after=after, mutating=True) if each["outcome"] == "OK"]


def split_of(*versions: tuple[Version, int]) -> dict[str, int]:
    return {id_of(version): percent for version, percent in versions}
