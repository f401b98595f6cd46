"""The projection behind the list: what it reads and when, and that nothing that hangs keeps anything else from being shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.log import Entry, Origin
from airflow_model_ops.core.state import Actor, ActorKind, Fence
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.hooks.wiring import Fleet, standing_in
from airflow_model_ops.plugin.backends import openings
from airflow_model_ops.plugin.datamodels.models import ModelRow
from airflow_model_ops.plugin.model_reading import ModelReader
from airflow_model_ops.plugin.overview import Cadence, Projection
from airflow_model_ops.testing import InMemoryLog, InMemoryRepository, InMemoryTarget, ManualClock
from tests.plugin.conftest import at_rest
from tests.waits import until

ADA = Actor(kind=ActorKind.PERSON, name="ada")
SOON = Cadence(logs=0.01, fleets=0.01, patience=0.05, stale=0.05, idle=60.0, fresh_look=60.0)


class WatchedLog:
    """A log that counts what is read of it, and waits or fails when told to."""

    def __init__(self, log: InMemoryLog) -> None:
        self._log = log
        self.read_entries = self.looks = 0
        self.gate: threading.Event | None = None
        self.trouble: Exception | None = None

    def last(self) -> Entry | None:
        self._pass()
        self.looks += 1
        return self._log.last()

    def read(self, sequence: int) -> Entry | None:
        self.read_entries += 1
        return self._log.read(sequence)

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        for entry in self._log.entries(after=after):
            self.read_entries += 1
            yield entry

    def put_if_absent(self, entry: Entry) -> bool:
        return self._log.put_if_absent(entry)

    def _pass(self) -> None:
        if self.gate is not None:
            self.gate.wait()
        if self.trouble is not None:
            raise self.trouble


class WatchedRepository(InMemoryRepository):
    """A repository whose logs are watched."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[str, WatchedLog] = {}

    def log(self, model: str) -> Any:
        return self.logs.setdefault(model, WatchedLog(super().log(model)))


class GatedTarget(InMemoryTarget):
    """A fleet that answers only when its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def observe(self, model: str) -> Any:
        self.gate.wait()
        return super().observe(model)


@dataclass(kw_only=True)
class Scene:
    """Models on one fleet, and a projection of them."""

    clock: ManualClock = field(default_factory=ManualClock)
    repository: WatchedRepository = field(default_factory=WatchedRepository)
    target: GatedTarget = field(default_factory=GatedTarget)
    projections: list[Projection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.models = {name: ModelIdentity(model=name) for name in ("a", "b", "c")}
        self.fleet = Fleet(name="main", repository=self.repository, target=self.target, clock=self.clock)

    def projection(self, cadence: Cadence = SOON) -> Projection:
        self.projections.append(Projection(models=lambda: self.models, cadence=cadence))
        return self.projections[-1]

    def control(self, model: str = "a") -> ModelControl:
        return self.fleet.control(self.models[model], origin=Origin(actor=ADA))

    def version(self, day: int, *, model: str = "a") -> Version:
        version = self.models[model].naming().parse(f"v-202306{day:02}-120000")
        self.repository.add_version(model, version)
        return version

    def serve(self, *days: int, model: str = "a") -> None:
        """Make versions stable, one after the other."""
        for day in days:
            version, control, fence = self.version(day, model=model), self.control(model), self.fence(day)
            control.start_canary(version, fence=fence, percent=0)
            control.shift(fence=fence, percent=10)
            control.promote(version, fence=fence, proof="good")
            control.apply(deadline_seconds=5)
            self.clock.advance(60)

    def fence(self, day: int) -> Fence:
        return Fence(release=f"r{day}", attempt=1)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """The models of a test, whose fleet takes the place of all connections."""
    openings.forget()
    made = Scene()
    with standing_in(made.fleet):
        yield made
        at_rest(*made.projections)  # a late look would be one at the next test's logs, which counts them
    openings.forget()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """A gate that is closed until the test ends."""
    made = threading.Event()
    yield made
    made.set()


def seen(projection: Projection, *models: str, until_: Callable[[dict[str, ModelRow]], Any] = bool) -> Any:
    """Return the rows once what is looked for shows."""

    def rows() -> dict[str, ModelRow] | None:
        found = {row.model: row for row in projection.rows(models or ("a", "b", "c")).rows}
        return found if until_(found) else None

    return until(rows, what="the rows to show it")


def test_the_first_request_waits_a_moment_and_then_answers_with_names(scene: Scene, gate: threading.Event) -> None:
    for model in scene.models:
        scene.repository.log(model).gate = gate

    answer = scene.projection().rows(["b", "a"], wait_seconds=0.01)

    assert [row.model for row in answer.rows] == ["a", "b"]
    assert (answer.age_seconds, answer.complete) == (None, False)
    assert answer.rows[0].stable is None


def test_only_the_models_that_are_asked_for_are_shown(scene: Scene) -> None:
    assert [row.model for row in scene.projection().rows(["b", "no-such-model"]).rows] == ["b"]


def test_a_log_that_hangs_leaves_the_others_and_its_row_says_so(scene: Scene, gate: threading.Event) -> None:
    scene.serve(1, model="b")
    scene.repository.log("a").gate = gate

    rows = seen(scene.projection(), until_=lambda rows: rows["a"].trouble and rows["b"].stable)

    assert "has not answered for more than" in rows["a"].trouble


def test_a_fleet_that_hangs_delays_no_row_and_is_said_not_to_answer(scene: Scene, gate: threading.Event) -> None:
    scene.serve(1)
    scene.target.gate = gate

    rows = seen(scene.projection(), until_=lambda rows: rows["a"].health.trouble)

    assert rows["a"].stable == "v-20230601-120000"
    assert "has not answered" in rows["a"].health.trouble.reason


def test_a_fleet_that_begins_to_hang_is_shown_as_it_was_for_a_while(scene: Scene, gate: threading.Event) -> None:
    projection = scene.projection(Cadence(logs=0.01, fleets=0.01, patience=0.05, fresh_look=0.3))
    seen(projection, until_=lambda rows: rows["a"].health.value)

    scene.target.gate = gate

    seen(projection, until_=lambda rows: rows["a"].health.trouble)


def test_logs_that_all_hang_are_all_said_not_to_answer(scene: Scene, gate: threading.Event) -> None:
    scene.models |= {name: ModelIdentity(model=name) for name in "defghi"}
    for model in scene.models:
        scene.repository.log(model).gate = gate

    projection = scene.projection()

    seen(projection, *scene.models, until_=lambda rows: all(row.trouble for row in rows.values()))


def test_a_log_whose_turn_has_not_come_yet_is_in_no_trouble_while_others_are_read(scene: Scene) -> None:
    gates = {model: threading.Event() for model in "abcdefgh"}
    for model, gate in gates.items():
        scene.models[model] = ModelIdentity(model=model)
        scene.repository.log(model).gate = gate
    seconds = [0.0]
    projection = Projection(models=lambda: scene.models, cadence=Cadence(patience=5.0), now=lambda: seconds[0])
    scene.projections.append(projection)
    projection.refresh()
    until(lambda: len(_begun(projection)) == 4, what="four threads at work")
    first = _begun(projection)

    seconds[0] = 4.0
    ended = min(first)
    gates[ended].set()
    until(lambda: _begun(projection) - first, what="the next one's turn")
    seconds[0] = 8.0

    troubled = {model for model in gates if projection._row(scene.models[model], seconds[0]).trouble}
    assert troubled == first - {ended}
    for gate in gates.values():
        gate.set()


def _begun(projection: Projection) -> set[str]:
    return {name for name, kept in projection._kept.items() if kept.begun_at is not None}


def test_a_log_that_has_not_grown_costs_its_newest_entry(scene: Scene) -> None:
    scene.serve(*range(1, 9))
    projection, log = scene.projection(), scene.repository.log("a")
    seen(projection, until_=lambda rows: rows["a"].stable)
    log.read_entries, looks = 0, log.looks

    until(lambda: log.looks > looks + 3, what="more looks at the log")

    assert log.read_entries == 0


def test_a_log_that_has_grown_costs_what_came_since(scene: Scene) -> None:
    scene.serve(*range(1, 20))
    reader, log = ModelReader("a"), scene.repository.log("a")
    reader.read(scene.fleet)
    scene.control().hold(reason="wait")
    log.read_entries = 0

    reading = reader.read(scene.fleet)

    assert reading.state is not None
    assert reading.state.hold is not None
    assert log.read_entries < 15, "out of a log of 76 entries"


def test_what_one_model_cannot_tell_is_its_own_trouble_and_its_row_stays(scene: Scene) -> None:
    scene.serve(1, model="a")
    scene.serve(1, model="b")
    projection = scene.projection()
    seen(projection, until_=lambda rows: rows["a"].stable)

    scene.repository.log("a").trouble = RepositoryUnavailable("the disk is gone")
    rows = seen(projection, until_=lambda rows: rows["a"].trouble)

    assert (rows["a"].trouble, rows["a"].stable) == ("the disk is gone", "v-20230601-120000")
    assert rows["b"].trouble is None


def test_a_model_recovers_from_its_trouble(scene: Scene) -> None:
    scene.repository.log("a").trouble = ValueError("nobody foresaw this")
    projection = scene.projection()
    rows = seen(projection, until_=lambda rows: rows["a"].trouble)
    assert rows["a"].trouble == "failed (ValueError); the API server's log has more"

    scene.repository.log("a").trouble = None

    seen(projection, until_=lambda rows: rows["a"].trouble is None)


def test_a_model_that_serves_something_else_than_its_head_says_drifts(scene: Scene) -> None:
    scene.serve(1, 2)
    projection = scene.projection()
    assert seen(projection, until_=lambda rows: rows["a"].health.value)["a"].drift is None

    scene.target._routes["a"] = (1, {})

    rows = seen(projection, until_=lambda rows: rows["a"].drift)
    assert "the routes are those of generation 1" in rows["a"].drift


def test_a_change_that_is_not_applied_yet_is_no_drift(scene: Scene) -> None:
    scene.serve(1, 2)
    scene.control().rollback(reason="slow")
    projection = scene.projection()

    rows = seen(projection, until_=lambda rows: rows["a"].health.value)

    assert (str(rows["a"].traffic), rows["a"].live, rows["a"].drift) == ("changing", True, None)


def test_a_model_whose_file_is_gone_leaves_the_list(scene: Scene) -> None:
    projection = scene.projection()
    seen(projection)
    del scene.models["c"]

    assert [row.model for row in projection.rows(["a", "b", "c"]).rows] == ["a", "b"]


def test_nobody_looks_once_nobody_asks_until_somebody_does_again(scene: Scene) -> None:
    projection = scene.projection(Cadence(logs=0.01, fleets=0.01, stale=0.02, idle=0.05))
    log = scene.repository.log("a")
    seen(projection)

    until(lambda: projection._awake is None, what="the projection to fall asleep")
    looks = log.looks
    scene.serve(1)

    seen(projection, until_=lambda rows: rows["a"].stable)
    assert log.looks > looks


def test_reading_a_model_now_shows_in_the_list_without_another_look(scene: Scene) -> None:
    never_again = Cadence(logs=600.0, stale=600.0)
    projection = scene.projection(never_again)
    seen(projection, until_=lambda rows: all(row.health.value for row in rows.values()))
    scene.serve(1)

    row, reading = projection.read_now(scene.models["a"])

    assert row.stable == "v-20230601-120000"
    assert reading.head is not None
    assert projection.rows(["a"]).rows[0].stable == "v-20230601-120000"


def test_stable_is_as_old_as_its_promotion_whatever_came_after(scene: Scene) -> None:
    scene.serve(1)
    promoted = scene.clock.now() - 60
    control = scene.control()
    control.hold(reason="wait")
    control.resume(reason="go on")
    fence = scene.fence(2)
    control.start_canary(scene.version(2), fence=fence, percent=5)
    control.abort(reason="no", fence=fence)

    since = ModelReader("a").read(scene.fleet).stable_since

    assert since is not None
    assert since.timestamp() == pytest.approx(promoted, abs=0.01)


def test_after_a_rollback_stable_is_as_old_as_the_rollback(scene: Scene) -> None:
    scene.serve(1, 2)
    back = scene.clock.now()
    scene.control().rollback(reason="slow")

    since = ModelReader("a").read(scene.fleet).stable_since

    assert since is not None
    assert since.timestamp() == pytest.approx(back, abs=0.01)


def test_a_log_that_was_restored_from_a_backup_is_read_anew(scene: Scene) -> None:
    scene.serve(1, 2)
    reader = ModelReader("a")
    reader.read(scene.fleet)
    kept = list(scene.repository.log("a")._log.entries())[:4]
    scene.repository.logs["a"] = WatchedLog(restored := InMemoryLog())
    for entry in kept:
        restored.put_if_absent(entry)

    state = reader.read(scene.fleet).state

    assert state is not None
    assert state.stable == scene.models["a"].naming().parse("v-20230601-120000")


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_reading_a_log_as_it_grows_says_what_reading_it_at_once_says(scene: Scene, stride: int) -> None:
    _tell_everything(scene)
    entries = list(scene.repository.log("a").entries())
    growing = InMemoryLog()
    scene.repository.logs["a"] = WatchedLog(growing)
    reader = ModelReader("a")

    for number, entry in enumerate(entries, start=1):
        growing.put_if_absent(entry)
        if number % stride == 0:
            assert reader.read(scene.fleet) == ModelReader("a").read(scene.fleet), f"after entry {number}"


def _tell_everything(scene: Scene) -> None:
    scene.serve(1, 2)
    control = scene.control()
    control.rollback(reason="slow")
    control.pin_golden(scene.version(1))
    for day, attempt in ((3, 1), (3, 2), (4, 1)):
        fence = Fence(release=f"r{day}", attempt=attempt)
        control.start_canary(scene.version(day), fence=fence, percent=5)
        control.apply(deadline_seconds=5)
        scene.clock.advance(30)
        if day == 3:
            control.abort(reason="no", fence=fence, harmed=False)
            control.apply(deadline_seconds=5)
    scene.serve(5)
