"""Which versions may go, as stories and for any history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.errors import TransitionRefused
from airflow_model_ops.core.retention import choose_retired
from airflow_model_ops.core.state import Actor, ActorKind, Canary, Fence, Golden, Holdback, LiveRelease, ServingState
from airflow_model_ops.core.transitions import abort, pin_golden, promote, quarantine, rollback, start_canary
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming

ADA = Actor(kind=ActorKind.PERSON, name="ada")
NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="digits")


def versions(*majors: int) -> tuple[Version, ...]:
    return tuple(NAMING.parse(f"digits-v{major}.0.0") for major in majors)


def test_the_newest_promoted_versions_stay_and_older_ones_go(v: Callable[[int], Version]) -> None:
    state = ServingState(fleet="main", stable=v(5), earlier=versions(1, 2, 3, 4))
    assert choose_retired(state, present=versions(1, 2, 3, 4, 5), keep_last=2) == versions(1, 2, 3)


def test_nothing_goes_before_anything_was_promoted() -> None:
    assert choose_retired(ServingState(fleet="main"), present=versions(1, 2), keep_last=1) == ()


def test_a_version_that_is_held_back_stays(v: Callable[[int], Version]) -> None:
    state = ServingState(
        fleet="main",
        stable=v(5),
        earlier=versions(1, 2, 3, 4),
        holdback=Holdback(version=v(4), percent=5),
        promoted_by=Fence(release="r5", attempt=1),
        keep_warm=0,
    )
    assert choose_retired(state, present=versions(1, 2, 3, 4, 5), keep_last=1) == versions(1, 2, 3)


def test_golden_and_what_a_fleet_lists_or_a_release_waits_with_stay(v: Callable[[int], Version]) -> None:
    state = ServingState(
        fleet="main", stable=v(6), earlier=versions(1, 2, 3, 4, 5), golden=Golden(version=v(1), by_person=True)
    )
    assert choose_retired(state, present=versions(1, 2, 3, 4, 5, 6), keep_last=1, spared=[v(3)]) == versions(2, 4)


def test_a_version_newer_than_the_oldest_kept_one_may_still_be_released(v: Callable[[int], Version]) -> None:
    state = ServingState(fleet="main", stable=v(5), earlier=(v(1),))
    assert choose_retired(state, present=versions(1, 2, 3, 6), keep_last=2) == ()


def test_after_a_rollback_the_way_further_back_stays(v: Callable[[int], Version]) -> None:
    """By number 4 and 5 are the newest promoted ones, but 3 serves and 2 is where a rollback would go."""
    state = ServingState(fleet="main", stable=v(3), earlier=versions(1, 2), left=versions(4, 5), keep_warm=0)
    assert choose_retired(state, present=versions(1, 2, 3, 4, 5), keep_last=2) == versions(1)


@given(
    st.lists(st.tuples(st.sampled_from(["release", "canary", "back", "golden", "ban"]), st.integers(1, 8))), st.data()
)
def test_nothing_that_serves_or_an_automatic_rollback_may_land_on_ever_goes(
    acts: list[tuple[str, int]], data: st.DataObject
) -> None:
    state = ServingState(fleet="main", keep_warm=data.draw(st.integers(0, 2)))
    for act, major in acts:
        state = _after(state, act, *versions(major))
    gone = choose_retired(state, present=versions(*range(1, 9)), keep_last=data.draw(st.integers(1, 4)))
    assert not {*gone} & {*state.warm, *(version for version, _ in state.split)}
    try:
        target = rollback(replace(state, canary=None, release=None), actor=ADA, reason="test").state.stable
    except TransitionRefused:
        return
    assert target not in gone


def _after(state: ServingState, act: str, version: Version) -> ServingState:
    live = LiveRelease(id=f"r{version}", attempt=1, version=version, started_at="2023-06-01T12:00:00+00:00")
    fence = Fence(release=live.id, attempt=1)
    state = replace(state, ended=None)
    try:
        if act == "release":
            started = start_canary(abort(state, reason="next").state, release=live).state
            return promote(
                replace(started, canary=Canary(version=version, percent=50)), fence=fence, version=version, proof=""
            ).state
        if act == "canary":
            return start_canary(replace(abort(state, reason="next").state, ended=None), release=live).state
        if act == "back":
            return rollback(state, actor=ADA, reason="test").state
        if act == "golden":
            return pin_golden(state, version=version, actor=ADA).state
        return quarantine(state, version=version, reason="test").state
    except TransitionRefused:
        return state
