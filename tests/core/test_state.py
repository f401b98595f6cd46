"""The serving state's own promises: it never contradicts itself, shares sum to 100, and it survives JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.state import (
    Actor,
    ActorKind,
    Canary,
    Fence,
    Golden,
    Hold,
    Holdback,
    LiveRelease,
    ServingState,
)
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming

V = Callable[[int], Version]
NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="digits")


def version(major: int) -> Version:
    return NAMING.parse(f"digits-v{major}.0.0")


FULL = ServingState(
    fleet="main",
    stable=version(3),
    canary=Canary(version=version(4), percent=12.5),
    golden=Golden(version=version(2), by_person=True),
    earlier=(version(1), version(2)),
    left=(version(5),),
    quarantined=(version(6),),
    retired=(version(7),),
    hold=Hold(by="person ada", reason="exam week — \N{SNOWMAN}", by_person=True),
    release=LiveRelease(id="r4", attempt=2, version=version(4), started_at="2023-06-01T12:00:00+00:00"),
    ended=Fence(release="r5", attempt=1),
    keep_warm=1,
)

WATCHED = replace(
    FULL,
    canary=None,
    release=None,
    holdback=Holdback(version=version(2), percent=5.5, until="2023-06-01T13:00:00+00:00"),
    promoted_by=Fence(release="r3", attempt=1),
)
"""Version 3 was promoted, and 2 keeps a share while that is watched."""


class TestSplit:
    @given(hundredths=st.integers(0, 10_000), has_stable=st.booleans())
    def test_shares_sum_to_100_whatever_the_canary_gets(self, hundredths: int, has_stable: bool) -> None:
        stable = version(3) if has_stable else None
        state = ServingState(fleet="main", stable=stable, canary=Canary(version=version(4), percent=hundredths / 100))
        shares = [percent for _, percent in state.split]
        assert sum(shares) == pytest.approx(100) if shares else not has_stable
        assert all(round(percent * 100) >= 1 for percent in shares)

    def test_a_first_canary_without_traffic_means_that_nothing_serves(self, v: V) -> None:
        assert ServingState(fleet="main", canary=Canary(version=v(1), percent=0)).split == ()

    def test_a_version_that_is_held_back_shares_with_stable(self, v: V) -> None:
        assert WATCHED.split == ((v(3), 94.5), (v(2), 5.5))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"holdback": Holdback(version=version(2), percent=0)}, "hold-back share 0 % is not above 0 and at most 50"),
        ({"holdback": Holdback(version=version(2), percent=50.01)}, r"share 50\.01 % is not above 0 and at most 50"),
        ({"holdback": Holdback(version=version(2), percent=float("nan"))}, "hold-back share nan % is not above 0"),
        ({"holdback": Holdback(version=version(2), percent=0.005)}, r"hold-back share 0\.005 % is finer than 0\.01 %"),
        ({"holdback": Holdback(version=version(3), percent=5)}, r"v3\.0\.0, which is held back, is no earlier stable"),
        ({"quarantined": (version(2),), "golden": None}, r"v2\.0\.0, which is held back, is quarantined"),
        ({"promoted_by": None}, "has no promotion that it belongs to"),
        ({"stable": None}, "has no promotion that it belongs to"),
        ({"canary": FULL.canary, "release": FULL.release}, "serves beside a live release"),
    ],
)
def test_a_hold_back_that_contradicts_the_state_cannot_be_made(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidState, match=f"contradicts itself: .*{words}"):
        replace(WATCHED, **change)


@pytest.mark.parametrize(
    ("state", "fence"),
    [
        (FULL, Fence(release="r4", attempt=2)),
        (WATCHED, Fence(release="r3", attempt=1)),
        (replace(WATCHED, holdback=None), None),
    ],
)
def test_a_live_release_and_a_watch_that_holds_back_need_a_lease(state: ServingState, fence: Fence | None) -> None:
    assert state.leased == fence


class TestLabelsAndWarmth:
    def test_a_version_that_is_held_back_stays_loaded(self, v: V) -> None:
        assert v(2) in replace(WATCHED, keep_warm=0, golden=None).warm

    def test_labels_name_only_what_there_is(self, v: V) -> None:
        assert FULL.labels == {"stable": v(3), "canary": v(4), "golden": v(2)}
        assert ServingState(fleet="main").labels == {}

    def test_labelled_versions_and_the_nearest_rollback_targets_stay_loaded(self, v: V) -> None:
        assert FULL.warm == (v(2), v(3), v(4))
        assert replace(FULL, keep_warm=2).warm == (v(1), v(2), v(3), v(4))
        assert replace(FULL, keep_warm=0, golden=None).warm == (v(3), v(4))

    def test_a_quarantined_version_leaves_its_warm_place_to_the_next_target(self, v: V) -> None:
        state = replace(FULL, golden=None, quarantined=(v(2),))
        assert state.warm == (v(1), v(3), v(4))

    def test_promoted_are_all_that_ever_were_stable(self, v: V) -> None:
        assert FULL.promoted == (v(1), v(2), v(3), v(5))
        assert ServingState(fleet="main").promoted == ()


@pytest.mark.parametrize(("by", "by_person"), [("person ada", True), ("automation model_release", False)])
def test_a_hold_that_was_stored_before_it_said_so_is_a_persons_if_a_person_is_named(by: str, by_person: bool) -> None:
    stored = replace(FULL, hold=Hold(by=by, reason="wait", by_person=by_person)).to_json()
    del stored["hold"]["by_person"]
    assert ServingState.from_json(stored).hold == Hold(by=by, reason="wait", by_person=by_person)


class TestFences:
    @pytest.mark.parametrize(
        ("fence", "live"),
        [
            (Fence(release="r4", attempt=2), True),
            (Fence(release="r4", attempt=1), False),
            (Fence(release="r5", attempt=2), False),
        ],
    )
    def test_only_the_live_release_and_attempt_is_live(self, fence: Fence, live: bool) -> None:
        assert FULL.is_live(fence) is live
        assert not replace(FULL, release=None).is_live(fence)

    def test_an_actor_is_named_with_its_kind(self) -> None:
        assert str(Actor(kind=ActorKind.PERSON, name="ada")) == "person ada"
        assert not Actor(kind=ActorKind.AUTOMATION, name="guard").is_person


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"canary": Canary(version=version(4), percent=101)}, "canary share 101 % is outside 0 to 100"),
        ({"canary": Canary(version=version(4), percent=float("nan"))}, "canary share nan % is outside 0 to 100"),
        ({"canary": Canary(version=version(4), percent=0.005)}, r"canary share 0\.005 % is finer than 0\.01 %"),
        ({"stable": version(4)}, r"digits-v4\.0\.0 is both stable and canary"),
        ({"quarantined": (version(4),)}, r"canary digits-v4\.0\.0 is quarantined"),
        ({"quarantined": (version(2),)}, r"golden digits-v2\.0\.0 is quarantined"),
        ({"retired": (version(3),)}, r"serving version digits-v3\.0\.0 is retired"),
        ({"retired": (version(1),)}, r"earlier version digits-v1\.0\.0 is retired"),
        ({"retired": (version(5),)}, r"left version digits-v5\.0\.0 is retired"),
        ({"earlier": (version(3),)}, r"stable digits-v3\.0\.0 is also listed as an earlier one"),
        ({"left": (version(3),)}, r"stable digits-v3\.0\.0 is also listed as an earlier one"),
        ({"keep_warm": -1}, "keep_warm -1 is negative"),
        ({"canary": Canary(version=version(9), percent=1)}, r"is not the version digits-v4\.0\.0 of release 'r4'"),
    ],
)
def test_a_state_that_contradicts_itself_cannot_be_made(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidState, match=f"fleet 'main' contradicts itself: .*{words}"):
        replace(FULL, **change)


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(InvalidState, match="101 % is outside 0 to 100; keep_warm -1 is negative"):
        replace(FULL, canary=Canary(version=version(4), percent=101), keep_warm=-1)


class TestJson:
    @pytest.mark.parametrize("state", [FULL, WATCHED, ServingState(fleet="main")])
    def test_a_state_survives_json(self, state: ServingState) -> None:
        assert ServingState.from_json(json.loads(json.dumps(state.to_json()))) == state

    def test_a_state_from_before_the_hold_backs_is_read(self) -> None:
        data = FULL.to_json()
        del data["holdback"], data["promoted_by"]
        assert ServingState.from_json(data) == FULL

    @pytest.mark.parametrize("key", sorted({*FULL.to_json()} - {"holdback", "promoted_by"}))
    def test_a_state_without_one_of_its_parts_is_refused(self, key: str) -> None:
        data = FULL.to_json()
        del data[key]
        with pytest.raises(InvalidState, match=f"cannot be read \\(KeyError\\('{key}'\\)\\)"):
            ServingState.from_json(data)

    @pytest.mark.parametrize(
        "change",
        [
            {"stable": {"name": "digits-v3.0.0", "number": "three"}},
            {"canary": "digits-v4.0.0"},
            {"canary": {"version": version(4).to_json(), "percent": "all"}},
            {"release": {"id": "r4"}},
            {"ended": {"release": "r4"}},
            {"promoted_by": {"release": "r4"}},
            {"holdback": {"version": version(2).to_json(), "percent": "some", "until": None}},
            {"holdback": {"version": version(2).to_json(), "percent": 5, "until": 5}},
            {"holdback": {"version": version(2).to_json()}},
            {"earlier": None},
            {"keep_warm": -1},
        ],
    )
    def test_a_part_that_makes_no_sense_is_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(InvalidState, match="stored serving state cannot be read"):
            ServingState.from_json({**FULL.to_json(), **change})
