"""Anything that a model's people and Vertex AI may do to one another, in any order: what always holds, and that it ends well."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from airflow_model_ops.adapters.serving.vertex_book import DOCUMENT
from airflow_model_ops.control.heads import read_head
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.state import Fence
from tests.adapters.vertex_story import ENDPOINT, MODEL, id_of
from tests.control.memory_fleet import PERSON, version
from tests.control.schedules import Killed
from tests.control.vertex_fleet import VertexFleet

MAJORS = st.integers(1, 4)
METHODS = st.sampled_from(
    [
        "GetEndpoint",
        "UpdateEndpoint",
        "DeployModel",
        "UndeployModel",
        "UploadModel",
        "ListModelVersions",
        "GetOperation",
    ]
)
CODES = st.sampled_from(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "FAILED_PRECONDITION", "NOT_FOUND"])


class OneEndpoint(RuleBasedStateMachine):
    """At each write of a worker: traffic goes to what is deployed, is whole, follows no older head; nothing is made twice."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None
        self.newest = 0
        self.vanished: set[str] = set()
        self.fleet = VertexFleet(point=self._reached)

    def _reached(self, name: str) -> None:
        if ENDPOINT in {each.name for each in self.fleet.state.endpoints.all}:
            generation = int(self.fleet.fake.endpoint(ENDPOINT).get("labels", {}).get("model-ops-generation", 0))
            assert generation >= self.newest, name
            self.newest = generation
        split = self.fleet.split()
        assert split.keys() - self.fleet.deployed() <= self.vanished, name
        assert sum(split.values()) in (0, 100), name
        assert set(self.fleet.uploads().values()) <= {1}, name
        if name == "UndeployModel answered":
            gone = self.fleet.fake.log(method="UndeployModel")[-1]["request"]["deployed_model_id"]
            head = read_head(self.fleet.repository.log(MODEL))
            assert head is not None
            named = [each for each in (head.state, head.former) if each is not None]
            assert gone not in {id_of(each) for state in named for each, _ in state.split}
            assert gone not in {id_of(each) for state in named for each in state.labels.values()}
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                raise Killed

    def _work(self, what: Callable[[ModelControl], object], *, killed_at: int | None = None) -> None:
        self.left = killed_at
        try:
            what(self.fleet.control(actor=PERSON))
        except Killed:
            self.fleet.store.held_lock.holder = None
        except ModelOpsError:
            pass  # refused, or not there yet: what was made of it is looked at elsewhere
        finally:
            self.left = None

    @rule(seconds=st.sampled_from([0, 3]), killed_at=st.none() | st.integers(1, 8))
    def apply(self, seconds: float, killed_at: int | None) -> None:
        self._work(lambda control: control.apply(deadline_seconds=seconds), killed_at=killed_at)

    @rule(killed_at=st.none() | st.integers(1, 8))
    def unload(self, killed_at: int | None) -> None:
        self._work(lambda control: control.applier.unload(deadline_seconds=0), killed_at=killed_at)

    @rule(major=MAJORS, percent=st.sampled_from([0, 10]), attempt=st.integers(1, 99))
    def start(self, major: int, percent: float, attempt: int) -> None:
        fence = Fence(release=f"r{major}", attempt=attempt)
        self._work(lambda control: control.start_canary(version(major), fence=fence, percent=percent))

    @precondition(lambda self: self.fleet.control().state.release is not None)
    @rule(percent=st.sampled_from([20, 50, 100]), promotes=st.booleans())
    def go_on(self, percent: float, promotes: bool) -> None:
        release = self.fleet.control().state.release
        assert release is not None
        if promotes:
            self._work(lambda control: control.promote(release.version, fence=release.fence, proof="it is good"))
        else:
            self._work(lambda control: control.shift(fence=release.fence, percent=percent))

    @rule(harmed=st.booleans())
    def abort(self, harmed: bool) -> None:
        release = self.fleet.control().state.release
        fence = release.fence if release else None
        self._work(lambda control: control.abort(reason="it smells", fence=fence, harmed=harmed))

    @rule(to=st.none() | MAJORS)
    def roll_back(self, to: int | None) -> None:
        self._work(lambda control: control.rollback(reason="it smells", to=version(to).name if to else None))

    @rule(major=MAJORS)
    def pin(self, major: int) -> None:
        self._work(lambda control: control.pin_golden(version(major)))

    @rule(seconds=st.sampled_from([1, 6, 20, 50, 700]))
    def time_passes(self, seconds: float) -> None:
        self.fleet.clock.sleep(seconds)

    @rule(ahead=st.sampled_from([-5000.0, -100.0, 0.0, 86_400.0]))
    def clocks_jump(self, ahead: float) -> None:
        self.fleet.workers_clock.ahead = ahead

    @rule(method=METHODS, code=CODES, times=st.integers(1, 3))
    def service_refuses(self, method: str, code: str, times: int) -> None:
        self.fleet.fake.refuse(method, code, times=times)

    @rule(method=METHODS, lose=st.sampled_from(["lose_answer", "lose_request"]))
    def wire_breaks(self, method: str, lose: str) -> None:
        getattr(self.fleet.fake, lose)(method)

    @rule(
        kind=st.sampled_from(["UploadModel", "DeployModel", "UndeployModel"]),
        seconds=st.sampled_from([None, 0.0, 30.0]),
    )
    def operations_take(self, kind: str, seconds: float | None) -> None:
        self.fleet.fake.duration(kind, seconds)

    @rule(kind=st.sampled_from(["UploadModel", "DeployModel", "UndeployModel"]), code=CODES)
    def operation_fails(self, kind: str, code: str) -> None:
        self.fleet.fake.fail_operation(kind, code)

    @precondition(lambda self: self.fleet.fake.running())
    @rule()
    def somebody_cancels(self) -> None:
        self.fleet.state.operations.cancel(self.fleet.fake.running()[0])

    @precondition(lambda self: self.fleet.deployed())
    @rule(chosen=st.integers(0, 3), vanishes=st.booleans())
    def somebody_meddles(self, chosen: int, vanishes: bool) -> None:
        there = sorted(self.fleet.deployed())
        one = there[chosen % len(there)]
        if vanishes:
            self.vanished.add(one)
            self.fleet.fake.vanish(ENDPOINT, one)
        else:
            self.fleet.fake.foreign_write(ENDPOINT, traffic_split={one: 100})

    @rule(left=st.sampled_from([None, b"{"]))
    def document_is_lost_or_torn(self, left: bytes | None) -> None:
        self.fleet.store.documents.pop(DOCUMENT, None)
        if left is not None:
            self.fleet.store.documents[DOCUMENT] = left

    def teardown(self) -> None:
        """Once nothing goes wrong any longer, the head is followed in full and nothing else stays deployed."""
        fleet = self.fleet
        fleet.fake.forget_faults()
        for kind in ("UploadModel", "DeployModel", "UndeployModel"):
            fleet.fake.duration(kind, 0.0)
        fleet.fake.release()
        if read_head(fleet.repository.log(MODEL)) is None:
            return
        self._work(lambda control: control.hold(reason="what failed for good is tried again"))
        self._work(lambda control: control.resume(reason="what failed for good is tried again"))
        for _ in range(60):
            fleet.clock.sleep(20.0)
            self._work(lambda control: control.applier.reconcile())
            self._work(lambda control: control.applier.unload(deadline_seconds=0))
        head = read_head(fleet.repository.log(MODEL))
        assert head is not None
        assert fleet.control().applier.unapplied() == ()
        assert fleet.split() == {id_of(each): int(percent) for each, percent in head.state.split}
        assert fleet.deployed() == {id_of(each) for each in head.state.warm}


TestOneEndpoint = OneEndpoint.TestCase
TestOneEndpoint.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
