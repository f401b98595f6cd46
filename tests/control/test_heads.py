"""What a fleet is asked to serve, read from the logs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from airflow_model_ops.control.apply import FleetApplier
from airflow_model_ops.control.commit import Committer
from airflow_model_ops.control.heads import applied_fact, fleet_plan, read_head, read_heads
from airflow_model_ops.core import transitions
from airflow_model_ops.core.errors import InvalidState, LoadFailed, NotApplied
from airflow_model_ops.core.log import Entry, FactKind, Origin
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.state import Fence, LiveRelease, ServingState
from tests.control.conftest import MemoryLog, StoryClock
from tests.control.memory_fleet import PERSON, MemoryFleet, version

ORIGIN = Origin(actor=PERSON)
SERVING = ServingState(fleet="main", stable=version(3), earlier=(version(1), version(2)))


@dataclass
class Logs:
    """The one thing of a repository that heads are read from."""

    held: dict[str, MemoryLog] = field(default_factory=dict)

    def models(self) -> tuple[str, ...]:
        return tuple(sorted(self.held))

    def log(self, model: str) -> MemoryLog:
        return self.held[model]


class Acts:
    """A model whose entries a story appends."""

    def __init__(self, log: MemoryLog, *, initial: ServingState = SERVING) -> None:
        self.log = log
        self.clock = StoryClock()
        self.committer = Committer(log=log, initial=initial, clock=self.clock)

    def start(self, major: int) -> Acts:
        live = LiveRelease(id=f"r{major}", attempt=1, version=version(major), started_at="2023-06-01T12:00:00+00:00")
        self.committer.commit(lambda state: transitions.start_canary(state, release=live, percent=10), origin=ORIGIN)
        return self

    def back(self) -> Acts:
        self.committer.commit(lambda s: transitions.rollback(s, actor=PERSON, reason="wrong"), origin=ORIGIN)
        return self

    def hold(self) -> Acts:
        self.committer.commit(lambda s: transitions.hold(s, actor=PERSON, reason="audit"), origin=ORIGIN)
        return self

    def resume(self) -> Acts:
        self.committer.commit(lambda s: transitions.resume(s, actor=PERSON, reason="done"), origin=ORIGIN)
        return self

    def applied(self, *, seconds_later: float = 0) -> Acts:
        self.clock.sleep(seconds_later)
        generation = self.committer.head()[1]
        self.committer.record(FactKind.APPLIED, reason="serves", origin=ORIGIN, detail={"generation": generation})
        return self


def test_a_model_without_a_transition_has_no_head(log: MemoryLog) -> None:
    assert read_head(log) is None
    Acts(log).committer.record(FactKind.PUSHED, reason="pushed", origin=ORIGIN)
    assert read_head(log) is None


def test_a_head_is_applied_only_by_a_fact_of_its_own_generation(log: MemoryLog) -> None:
    acts = Acts(log).start(4).applied().hold()
    head = read_head(log)
    assert head is not None
    assert (head.generation, head.applied_at) == (3, None)
    assert head.former is not None
    assert head.former.hold is None
    acts.applied(seconds_later=2)
    head = read_head(log)
    assert head is not None
    assert head.applied_at == acts.clock.now()


def test_facts_between_a_head_and_its_application_do_not_hide_it(log: MemoryLog) -> None:
    acts = Acts(log).start(4).applied()
    for _ in range(5):
        acts.committer.record(FactKind.VERDICT, reason="NO_DATA", origin=ORIGIN)
    head = read_head(log)
    assert head is not None
    assert head.applied_at is not None


def test_the_plan_spares_what_the_last_two_generations_serve_and_says_how_long_it_settled(log: MemoryLog) -> None:
    acts = Acts(log).start(4).back().applied()
    head = read_head(log)
    assert head is not None
    plan = fleet_plan({"digits": head}, fleet="main", now=acts.clock.now() + 7).models["digits"]
    assert plan.spare == tuple(version(major) for major in (2, 3, 4))  # stable, kept warm, the canary of before
    assert (plan.urgent, plan.applied, round(plan.settled_seconds)) == (True, True, 7)


def test_a_hold_upon_a_way_back_that_waits_is_as_urgent_and_one_upon_an_applied_one_is_not(log: MemoryLog) -> None:
    acts = Acts(log).start(4).back().hold().resume()
    head = read_head(log)
    assert head is not None
    assert head.urgent
    acts.applied().hold()
    head = read_head(log)
    assert head is not None
    assert not head.urgent


def test_a_start_upon_a_way_back_that_waits_is_not_urgent(log: MemoryLog) -> None:
    Acts(log).back().start(5)
    head = read_head(log)
    assert head is not None
    assert not head.urgent


def test_only_the_models_of_the_fleet_are_read_and_a_broken_log_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logs = Logs({name: MemoryLog() for name in ("digits", "faces", "broken", "new")})
    Acts(logs.held["digits"]).start(4)
    Acts(logs.held["faces"], initial=ServingState(fleet="other", stable=version(3))).start(4)
    logs.held["broken"].stored = [b"not an entry"]
    assert set(read_heads(cast("Repository", logs), fleet="main")) == {"digits"}
    assert "'broken'" in caplog.text


def test_applying_a_model_whose_log_is_broken_or_empty_says_so() -> None:
    fleet = MemoryFleet(models=("digits", "broken"), point=lambda _: None, waits=lambda: False)
    fleet.repository.logs["broken"].stored = [b"not an entry"]
    with pytest.raises(InvalidState, match="cannot be read"):
        fleet.control(model="broken").apply(deadline_seconds=1)
    with pytest.raises(InvalidState, match="no serving state on fleet 'main'"):
        fleet.control().apply(deadline_seconds=1)


def test_apply_appends_applied_once_and_says_how_long_it_took() -> None:
    fleet = MemoryFleet(point=lambda _: None, waits=lambda: False)
    control = fleet.control()
    fence = Fence(release="r1", attempt=1)
    control.start_canary(version(1), fence=fence, percent=10)
    control.promote(version(1), fence=fence, proof="it is good")
    fleet.clock.sleep(3)
    assert control.applier.unapplied() == ("digits",)
    first, second = (control.apply(deadline_seconds=1) for _ in range(2))
    assert first == second
    assert (first.split, round(first.seconds)) == ({str(version(1).number): 100.0}, 3)
    assert [entry.name for entry in fleet.repository.log("digits").entries()] == ["start_canary", "promote", "applied"]
    assert control.applier.unapplied() == ()


def test_apply_brings_every_other_model_that_waits_along() -> None:
    fleet = MemoryFleet(models=("digits", "faces"), point=lambda _: None, waits=lambda: False)
    for model in ("digits", "faces"):
        fleet.control(model=model).start_canary(version(1), fence=Fence(release="r1", attempt=1), percent=10)
    fleet.control().apply(deadline_seconds=1)
    assert fleet.control().applier.unapplied() == ()


def test_heads_that_never_rest_end_the_pass_without_a_false_application() -> None:
    """Each write finds a new head; what is recorded as applied must never be a head that was not written."""

    def restless(name: str) -> None:
        if name == "router routes":
            person = fleet.control(actor=PERSON)
            person.committer.commit(
                lambda s: (
                    transitions.resume(s, actor=PERSON, reason="x")
                    if s.hold
                    else transitions.hold(s, actor=PERSON, reason="x")
                ),
                origin=ORIGIN,
            )

    fleet = MemoryFleet(point=restless, waits=lambda: False)
    control = fleet.control()
    control.start_canary(version(1), fence=Fence(release="r1", attempt=1), percent=10)
    with pytest.raises(NotApplied, match="moved 20 times"):
        control.apply(deadline_seconds=0)
    assert {entry.name for entry in fleet.repository.log("digits").entries()} == {"start_canary", "hold", "resume"}


def test_an_applier_of_another_fleet_sees_nothing() -> None:
    fleet = MemoryFleet(point=lambda _: None, waits=lambda: False)
    control = fleet.control()
    control.start_canary(version(1), fence=Fence(release="r1", attempt=1))
    other = FleetApplier(
        repository=cast("Repository", fleet.repository),
        target=control.target,
        fleet="other",
        clock=fleet.clock,
        origin=ORIGIN,
    )
    assert other.unapplied() == ()


def test_a_golden_version_that_cannot_be_loaded_fails_its_pinning_alone() -> None:
    fleet = MemoryFleet(point=lambda _: None, waits=lambda: False)
    fence = Fence(release="r2", attempt=1)
    control = fleet.control()
    control.start_canary(version(2), fence=fence)
    control.promote(version(2), fence=fence, proof="it is good")
    control.apply(deadline_seconds=1)
    fleet.server.broken = {version(1).number}
    fleet.control(actor=PERSON).pin_golden(version(1))
    with pytest.raises(LoadFailed, match="pin another version as golden"):
        control.apply(deadline_seconds=1)
    control.start_canary(version(3), fence=Fence(release="r3", attempt=1), percent=10)
    assert control.apply(deadline_seconds=1).split == {str(version(3).number): 10.0, str(version(2).number): 90.0}


def test_a_router_that_does_not_take_its_clusters_stops_no_way_back_nor_its_record() -> None:
    fleet = MemoryFleet(models=("digits", "faces"), point=lambda _: None, waits=lambda: False)
    for major in (1, 2):
        for model in ("digits", "faces"):
            fence = Fence(release=f"r{major}", attempt=1)
            fleet.control(model=model).start_canary(version(major), fence=fence)
            fleet.control(model=model).promote(version(major), fence=fence, proof="it is good")
            fleet.control(model=model).apply(deadline_seconds=1)
    fleet.router.stuck = True
    fleet.control(model="faces").start_canary(version(3), fence=Fence(release="r3", attempt=1), percent=10)
    fleet.control(actor=PERSON).rollback(reason="wrong digits")
    assert fleet.control().apply(deadline_seconds=0).split == {str(version(1).number): 100.0}
    with pytest.raises(NotApplied, match="clusters are not active"):
        fleet.control(model="faces").apply(deadline_seconds=0)


def test_a_log_that_answers_with_a_newer_entry_ends_the_walk_instead_of_going_round() -> None:
    class Turning(MemoryLog):
        def read(self, sequence: int) -> Entry | None:
            return super().read(max(sequence, 2))

    plain, log = MemoryLog(), Turning()
    Acts(plain).hold().resume()
    log.stored = plain.stored
    with pytest.raises(InvalidState, match="restore the log"):
        applied_fact(log, log.last(), 1)


def test_a_model_whose_log_raises_any_value_error_is_left_out() -> None:
    class Odd(MemoryLog):
        def last(self) -> Entry | None:
            raise ValueError("odd")

    good = MemoryLog()
    Acts(good).hold()
    unread: dict[str, str] = {}
    heads = read_heads(cast("Repository", Logs(held={"bad": Odd(), "good": good})), fleet="main", unread=unread)
    assert (set(heads), unread) == ({"good"}, {"bad": "odd"})
