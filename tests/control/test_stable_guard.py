"""The guard of one model's stable version: what it counts, what it keeps, and when it speaks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.stable_guard import PLACE, StableAlarm, StableGuard, recent_way_back
from airflow_model_ops.core.checks import Arm, Arms, Check, CheckKind
from airflow_model_ops.core.judge.mixture import unpack
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.policy import Guard
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from airflow_model_ops.testing import InMemoryRepository, InMemoryTarget, ManualClock
from tests.control.guard_story import CountingSource

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
ERRORS = Check(name="errors", kind=CheckKind.ERROR_RATE, max=0.01)
SLOW = Check(name="slow", kind=CheckKind.LATENCY, latency_bound_ms=250.0, max=0.05)
GUARD = Actor(kind=ActorKind.AUTOMATION, name="model_guard")
PERSON = Actor(kind=ActorKind.PERSON, name="ada")


def cluster(version: Version, *, control: bool = False) -> str:
    return f"m/{version.number}{'~control' if control else ''}"


def arms_of(model: str, version: Version) -> Arms:
    number = str(version.number)
    return Arms(
        canary=Arm(version_number=number, cluster=cluster(version)),
        control=Arm(version_number=number, cluster=cluster(version, control=True)),
    )


@dataclass
class Served:
    """A model that serves, and its guard, made anew for each look as after a restart."""

    clock: ManualClock = field(default_factory=ManualClock)
    repository: InMemoryRepository = field(default_factory=InMemoryRepository)
    target: InMemoryTarget = field(default_factory=InMemoryTarget)
    guard: Guard = field(default_factory=lambda: Guard(checks=(ERRORS,)))

    def __post_init__(self) -> None:
        self.source = CountingSource(self.clock)

    def control(self, actor: Actor = GUARD) -> ModelControl:
        return ModelControl(
            model="m",
            naming=NAMING,
            repository=self.repository,
            target=self.target,
            initial=ServingState(fleet="main"),
            origin=Origin(actor=actor),
            clock=self.clock,
        )

    def version(self, major: int) -> Version:
        version = NAMING.parse(f"m-v{major}.0.0")
        self.repository.add_version("m", version)
        return version

    def start(self, major: int, *, percent: float = 50) -> Fence:
        control, fence = self.control(), Fence(release=f"r{major}", attempt=1)
        control.start_canary(self.version(major), fence=fence)
        control.shift(fence=fence, percent=percent)
        control.apply(deadline_seconds=5)
        return fence

    def promote(self, *majors: int, apply: bool = True) -> None:
        for major in majors:
            fence = self.start(major)
            self.control().promote(self.version(major), fence=fence, proof="it was good")
            if apply:
                self.control().apply(deadline_seconds=5)

    def look(self) -> StableAlarm | None:
        guard = StableGuard(
            repository=self.repository,
            source=self.source,
            model="m",
            guard=self.guard,
            arms_of=arms_of,
            clock=self.clock,
        )
        return guard.look()

    def serve(self, major: int, *, n: int, bad: int, control: bool = False, times: int = 1) -> StableAlarm | None:
        """Let 15 s of requests be answered and look; return the last answer."""
        found = None
        for _ in range(times):
            self.source.serve(cluster(self.version(major), control=control), n=n, bad=bad)
            found = self.look()
        return found

    @property
    def kept(self) -> dict[str, Any]:
        content = self.repository.read_evidence("m", PLACE, "stable")
        assert content is not None
        return json.loads(content)

    @property
    def counted(self) -> tuple[int, int]:
        """How many events were counted of the present stable version, and how many of them were bad."""
        rows = self.kept["checks"]["errors"]["state"]["intervals"]
        return sum(row[2] for row in rows), sum(row[3] for row in rows)


@pytest.fixture
def served() -> Served:
    served = Served()
    served.promote(1, 2)
    served.look()
    return served


class TestAlarm:
    def test_it_speaks_when_stable_turns_bad_and_names_version_head_and_reason(self, served: Served) -> None:
        assert served.serve(2, n=500, bad=1, times=100) is None

        found = served.serve(2, n=500, bad=40, times=3)

        assert found is not None
        assert (found.model, found.version, found.generation) == (
            "m",
            served.version(2),
            served.control().committer.head()[1],
        )
        assert "errors of stable m-v2.0.0 8.0 % (120 of 1,500)" in found.alarm.reason

    def test_what_is_behind_it_is_kept_where_the_log_can_refer_to(self, served: Served) -> None:
        found = served.serve(2, n=500, bad=40, times=3)
        assert found is not None
        guard = StableGuard(
            repository=served.repository,
            source=served.source,
            model="m",
            guard=served.guard,
            arms_of=arms_of,
            clock=served.clock,
        )

        reference = guard.keep_alarm(found)

        name = f"alarm-m-v2.0.0-{found.alarm.at}"
        content = served.repository.read_evidence("m", PLACE, name)
        assert content is not None
        assert reference.endswith(name)
        told = json.loads(content)
        assert (told["version"], told["reason"]) == ("m-v2.0.0", found.alarm.reason)
        assert [row[2:] for row in told["numbers"]["intervals"]["errors"]] == [[500, 40]] * 3

    def test_the_control_group_counts_as_stable(self, served: Served) -> None:
        served.serve(2, n=900, bad=3)
        served.serve(2, n=100, bad=2, control=True)

        assert served.counted == (1000, 5)

    def test_a_live_canary_is_not_counted_as_stable_and_stable_is_guarded_on(self, served: Served) -> None:
        served.serve(2, n=500, bad=1)
        served.start(3, percent=50)
        served.source.serve(cluster(served.version(3)), n=500, bad=500, seconds=0)
        assert served.serve(2, n=500, bad=1) is None
        assert served.counted == (1000, 2)

        assert served.serve(2, n=500, bad=60, times=3) is not None

    @pytest.mark.parametrize("trouble", ["down", "stale", "no requests"])
    def test_a_blind_guard_says_nothing(self, served: Served, trouble: str) -> None:
        served.serve(2, n=500, bad=1, times=5)
        served.source.down = "connection refused" if trouble == "down" else None
        served.source.age_seconds = 3600.0 if trouble == "stale" else 1.0
        bad = 0 if trouble == "no requests" else 400

        assert served.serve(2, n=bad, bad=bad, times=20) is None

    def test_an_outage_of_the_source_is_made_up_for(self, served: Served) -> None:
        served.source.down = "connection refused"
        assert served.serve(2, n=500, bad=40, times=4) is None
        served.source.down = None

        assert served.serve(2, n=500, bad=40) is not None
        assert served.counted == (2500, 200)

    def test_two_checks_are_asked_each_and_either_may_speak(self, served: Served) -> None:
        served.guard = Guard(checks=(ERRORS, SLOW))
        served.look()

        found = served.serve(2, n=500, bad=20, times=10)  # 4 %: too many errors, not too many slow ones

        assert found is not None
        assert found.alarm.check == "errors"
        assert set(served.kept["checks"]) == {"errors", "slow"}


class TestMemory:
    def test_every_event_is_counted_once_however_many_guards_look(self, served: Served) -> None:
        for _ in range(10):
            served.source.serve(cluster(served.version(2)), n=100, bad=1)
            served.look()
            served.look()

        assert served.counted == (1000, 10)

    def test_a_guard_that_was_away_goes_on_where_it_stopped(self, served: Served) -> None:
        served.serve(2, n=500, bad=2, times=3)
        for _ in range(4):
            served.source.serve(cluster(served.version(2)), n=500, bad=2)

        served.look()

        assert served.counted == (3500, 14)

    def test_nothing_new_is_not_written_again(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        served.serve(2, n=500, bad=2)
        writes: list[str] = []
        monkeypatch.setattr(served.repository, "write_evidence", lambda *place: writes.append(place[2]))

        served.look()

        assert writes == []

    def test_the_next_stable_version_starts_anew(self, served: Served) -> None:
        served.serve(2, n=500, bad=8, times=3)
        served.promote(3)
        served.look()
        served.serve(3, n=500, bad=1)

        assert served.kept["version"] == "m-v3.0.0"
        assert served.counted == (500, 1)

    def test_what_a_version_did_as_a_canary_is_not_held_against_it_as_stable(self, served: Served) -> None:
        fence = served.start(3)
        for _ in range(20):
            served.source.serve(cluster(served.version(3)), n=500, bad=100)
        served.control().promote(served.version(3), fence=fence, proof="approved by a person")
        served.control().apply(deadline_seconds=5)

        assert served.look() is None
        assert served.serve(3, n=500, bad=1) is None
        assert served.counted == (500, 1)

    def test_a_version_is_not_guarded_before_it_is_applied(self, served: Served) -> None:
        served.promote(3, apply=False)
        asked = served.source.asked

        assert served.serve(3, n=500, bad=400, times=5) is None
        assert served.source.asked == asked

    def test_a_guard_that_is_switched_on_late_looks_from_then_on(self) -> None:
        served = Served()
        served.promote(1)
        for _ in range(10):
            served.source.serve(cluster(served.version(1)), n=500, bad=400)

        served.source.serve(cluster(served.version(1)), n=500, bad=1)
        assert served.look() is None
        assert served.counted == (500, 1)

    def test_another_ceiling_starts_that_check_anew_and_leaves_the_others(self, served: Served) -> None:
        served.guard = Guard(checks=(ERRORS, SLOW))
        served.look()
        served.serve(2, n=500, bad=8, times=3)
        before = served.kept["checks"]["slow"]["state"]["detector"]
        served.guard = Guard(checks=(Check(name="errors", kind=CheckKind.ERROR_RATE, max=0.1), SLOW))

        served.look()

        assert served.counted == (500, 8), "the newest interval, and not what was before the change"
        assert served.kept["checks"]["slow"]["state"]["detector"] == before

    @pytest.mark.parametrize("content", [b"", b"[]", b'{"schema": 1, "version": "m-v2.0.0", "checks": {"errors": 3}}'])
    def test_a_file_that_cannot_be_read_starts_the_guard_anew(self, served: Served, content: bytes) -> None:
        served.repository.write_evidence("m", PLACE, "stable", content)

        assert served.serve(2, n=500, bad=40, times=4) is not None

    def test_a_state_of_other_alternatives_starts_the_detector_anew(self, served: Served) -> None:
        served.serve(2, n=500, bad=2)
        data = served.kept
        data["checks"]["errors"]["state"]["detector"]["sums"] = "AAAAAAAA8D8="
        assert unpack("AAAAAAAA8D8=") == [1.0]
        served.repository.write_evidence("m", PLACE, "stable", json.dumps(data).encode())

        assert served.serve(2, n=500, bad=40, times=4) is not None

    def test_a_model_without_a_stable_version_has_nothing_to_guard(self) -> None:
        served = Served()
        assert served.look() is None
        served.start(1)

        assert served.look() is None
        assert served.source.asked == 0


class TestWayBackOfItsOwn:
    def test_it_is_found_as_long_as_that_version_is_stable_and_it_is_recent(self, served: Served) -> None:
        control = served.control()
        log, began = control.committer.log, served.clock.now()
        assert recent_way_back(log, actor=GUARD, since=began - 60) is None

        control.rollback_guarded(version=served.version(2), reason="too many errors")
        control.apply(deadline_seconds=5)
        served.start(3)  # other transitions and facts come after it

        assert "too many errors" in (recent_way_back(log, actor=GUARD, since=began - 60) or "")
        assert recent_way_back(log, actor=PERSON, since=began - 60) is None
        served.clock.advance(7200)
        assert recent_way_back(log, actor=GUARD, since=served.clock.now() - 3600) is None

    def test_a_version_that_was_promoted_since_is_not_its_own(self, served: Served) -> None:
        control = served.control()
        control.rollback_guarded(version=served.version(2), reason="too many errors")
        control.apply(deadline_seconds=5)
        served.promote(3)

        assert recent_way_back(control.committer.log, actor=GUARD, since=0) is None
