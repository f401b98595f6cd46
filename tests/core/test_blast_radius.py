"""Stories of a bad artifact: how it is named, and how a model gets off the versions that come from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.blast_radius import ArtifactRef, Move, RefKind, leave_affected, live_affected, way_out
from airflow_model_ops.core.errors import InvalidConfig, InvalidState, NoRollbackTarget
from airflow_model_ops.core.state import (
    Actor,
    ActorKind,
    Canary,
    Fence,
    Golden,
    Holdback,
    LiveRelease,
    ServingState,
)
from airflow_model_ops.core.transitions import Action, hold, pin_golden, quarantine, start_canary
from airflow_model_ops.core.versioning import Version
from tests.core.conftest import NAMING

V = Callable[[int], Version]
R = Callable[..., LiveRelease]

ACTORS = st.sampled_from([Actor(kind=kind, name="somebody") for kind in ActorKind])
VERSIONS = st.integers(1, 8).map(lambda major: NAMING.parse(f"digits-v{major}.0.0"))
FEW = st.lists(VERSIONS, unique=True, max_size=4).map(tuple)


@st.composite
def states(draw: st.DrawFn) -> ServingState:
    """Any serving state that does not contradict itself."""
    stable = draw(st.none() | VERSIONS)
    earlier = tuple(version for version in draw(FEW) if version != stable)
    held_back = draw(st.booleans()) and bool(earlier) and stable is not None
    on_trial = draw(st.none() | VERSIONS) if not held_back else None
    release = on_trial and LiveRelease(id="r", attempt=1, version=on_trial, started_at="2023-06-01T12:00:00+00:00")
    golden = draw(st.none() | st.builds(Golden, version=VERSIONS, by_person=st.booleans()))
    left = tuple(version for version in draw(FEW) if version not in {*earlier, stable})
    try:
        return ServingState(
            fleet="main",
            stable=stable,
            canary=on_trial and Canary(version=on_trial, percent=draw(st.sampled_from([0.0, 5.0, 100.0]))),
            golden=golden,
            earlier=earlier,
            left=left,
            quarantined=draw(FEW),
            release=release,
            holdback=Holdback(version=earlier[-1], percent=5.0) if held_back else None,
            promoted_by=Fence(release="p", attempt=1) if held_back else None,
            keep_warm=draw(st.integers(0, 2)),
        )
    except InvalidState:
        return ServingState(fleet="main", stable=stable, earlier=earlier)


class TestRefs:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("dataset:digits@7", ArtifactRef(kind=RefKind.DATASET, name="digits@7")),
            ("dataset:s3://bucket/x:7", ArtifactRef(kind=RefKind.DATASET, name="s3://bucket/x:7")),
            ("uri:gs://bucket/examples/1", ArtifactRef(kind=RefKind.URI, name="gs://bucket/examples/1")),
            ("upstream:tfx/12", ArtifactRef(kind=RefKind.UPSTREAM, owner="tfx", name="12")),
            (
                "upstream:tfx/12/1699999999",
                ArtifactRef(kind=RefKind.UPSTREAM, owner="tfx", name="12", created="1699999999"),
            ),
            (
                "version:digits/v-20230601-120000",
                ArtifactRef(kind=RefKind.VERSION, owner="digits", name="v-20230601-120000"),
            ),
        ],
    )
    def test_an_artifact_is_read_as_it_is_written(self, text: str, expected: ArtifactRef) -> None:
        assert ArtifactRef.parse(text) == expected
        assert str(expected) == text

    @pytest.mark.parametrize(
        "text", ["", "digits@7", "dataset:", "version:digits", "version:/v", "upstream:tfx", "x:1"]
    )
    def test_what_is_none_is_refused_with_the_forms_there_are(self, text: str) -> None:
        with pytest.raises(InvalidConfig, match=r"'dataset:NAME'.*'version:MODEL/VERSION'"):
            ArtifactRef.parse(text)


class TestStableIsAffected:
    def test_the_model_goes_back_to_the_newest_clean_version(
        self, serving: ServingState, automation: Actor, v: V
    ) -> None:
        back = leave_affected(serving, affected={v(3), v(2)}, actor=automation, reason="digits@7 is mislabelled")

        assert (back.action, back.state.stable, back.state.left) == (Action.ROLLBACK, v(1), (v(2), v(3)))
        assert "digits-v3.0.0 to digits-v1.0.0: digits@7 is mislabelled" in back.reason

    def test_a_clean_canary_ends_with_it_because_it_is_not_proven(
        self, serving: ServingState, release: R, automation: Actor, v: V
    ) -> None:
        on_trial = start_canary(serving, release=release(4), percent=50).state

        back = leave_affected(on_trial, affected={v(3)}, actor=automation, reason="bad data")

        assert (back.state.split, back.state.release) == (((v(2), 100.0),), None)
        assert "the canary digits-v4.0.0, which is clean, ends with it" in back.reason

    def test_golden_is_the_last_resort_unless_it_is_affected_too(
        self, serving: ServingState, automation: Actor, v: V
    ) -> None:
        alone = replace(serving, earlier=(), golden=Golden(version=v(1), by_person=True))

        assert leave_affected(alone, affected={v(3)}, actor=automation, reason="r").state.stable == v(1)
        with pytest.raises(
            NoRollbackTarget, match=r"golden digits-v1\.0\.0, pinned by a person, is affected: pin a clean"
        ):
            leave_affected(alone, affected={v(1), v(3)}, actor=automation, reason="r")

    def test_without_a_clean_version_it_goes_on_serving_and_says_why_for_each(
        self, serving: ServingState, automation: Actor, v: V
    ) -> None:
        state = quarantine(serving, version=v(1), reason="harmed").state

        with pytest.raises(NoRollbackTarget) as refused:
            leave_affected(state, affected={v(2), v(3)}, actor=automation, reason="r")

        for words in ("v2.0.0 is affected, too", "v1.0.0 is quarantined", "no golden version", "v3.0.0 100 % goes on"):
            assert words in str(refused.value)

    def test_a_version_whose_files_are_gone_is_passed_over(self, serving: ServingState, v: V) -> None:
        assert way_out(serving, {v(3)}, unusable={v(2)}).target == v(1)
        assert "the files of digits-v2.0.0 are gone" in way_out(serving, {v(3)}, unusable={v(1), v(2)}).reason

    def test_only_a_person_goes_past_a_persons_pin(
        self, serving: ServingState, automation: Actor, person: Actor, v: V
    ) -> None:
        pinned = pin_golden(serving, version=v(3), actor=person).state

        stuck = way_out(pinned, {v(3)})
        assert stuck.move is Move.STUCK
        assert "only a person may go past a pin" in stuck.reason
        assert leave_affected(pinned, affected={v(3)}, actor=person, reason="r").state.stable == v(2)

    def test_a_hold_does_not_stop_it(self, serving: ServingState, automation: Actor, person: Actor, v: V) -> None:
        held = hold(serving, actor=person, reason="exam week").state

        assert leave_affected(held, affected={v(3)}, actor=automation, reason="r").state.stable == v(2)


class TestStableIsClean:
    def test_an_affected_canary_ends_and_stable_stays(
        self, serving: ServingState, release: R, automation: Actor, v: V
    ) -> None:
        on_trial = start_canary(serving, release=release(4), percent=50).state

        out = way_out(on_trial, {v(4), v(2)})
        back = leave_affected(on_trial, affected={v(4), v(2)}, actor=automation, reason="bad data")

        assert (out.move, out.target, out.live) == (Move.END, v(3), {"canary": v(4)})
        assert (back.state.split, back.state.earlier) == (((v(3), 100.0),), serving.earlier)

    def test_even_if_a_person_banned_it_by_force(
        self, serving: ServingState, release: R, automation: Actor, v: V
    ) -> None:
        on_trial = start_canary(serving, release=release(4), percent=50).state
        banned = quarantine(on_trial, version=v(3), reason="r", force=True).state

        assert leave_affected(banned, affected={v(4)}, actor=automation, reason="r").state.split == ((v(3), 100.0),)

    def test_an_affected_hold_back_ends(self, serving: ServingState, automation: Actor, v: V) -> None:
        watched = replace(
            serving,
            holdback=Holdback(version=v(2), percent=5),
            promoted_by=Fence(release="r", attempt=1),
        )

        back = leave_affected(watched, affected={v(2)}, actor=automation, reason="bad data")

        assert (back.state.split, back.state.earlier) == (((v(3), 100.0),), serving.earlier)

    def test_earlier_versions_that_do_not_serve_move_nothing(
        self, serving: ServingState, automation: Actor, v: V
    ) -> None:
        decision = leave_affected(serving, affected={v(1), v(2)}, actor=automation, reason="r")

        assert (decision.changed, decision.state) == (False, serving)

    def test_an_affected_golden_version_is_told(self, serving: ServingState, person: Actor, v: V) -> None:
        out = way_out(pin_golden(serving, version=v(1), actor=person).state, {v(1)})

        assert (out.move, out.live) == (Move.NOTHING, {"golden": v(1)})
        assert "golden digits-v1.0.0, pinned by a person, is affected" in out.reason


class TestFirstRelease:
    def test_with_traffic_there_is_nothing_to_go_back_to(
        self, empty: ServingState, release: R, automation: Actor, v: V
    ) -> None:
        first = start_canary(empty, release=release(1), percent=100).state

        with pytest.raises(
            NoRollbackTarget, match=r"no version was stable before.*digits-v1\.0\.0 100 % goes on serving"
        ):
            leave_affected(first, affected={v(1)}, actor=automation, reason="r")

    def test_before_its_traffic_it_ends(self, empty: ServingState, release: R, automation: Actor, v: V) -> None:
        loaded = start_canary(empty, release=release(1)).state

        ended = leave_affected(loaded, affected={v(1)}, actor=automation, reason="r").state

        assert (ended.canary, ended.release, ended.split) == (None, None, ())


class TestEveryState:
    @given(state=states(), affected=FEW, unusable=FEW, actor=ACTORS)
    def test_afterwards_no_affected_version_serves_or_the_refusal_is_right(
        self, state: ServingState, affected: tuple[Version, ...], unusable: tuple[Version, ...], actor: Actor
    ) -> None:
        out = way_out(state, affected, by_person=actor.is_person, unusable=unusable)
        if out.move is Move.STUCK:
            assert {version for version, _ in state.split} & set(affected)
            with pytest.raises(NoRollbackTarget):
                leave_affected(state, affected=affected, actor=actor, reason="r", unusable=unusable)
            return
        after = leave_affected(state, affected=affected, actor=actor, reason="r", unusable=unusable).state
        assert live_affected(after, affected).keys() <= {"golden"}
        assert after.stable == (out.target if out.move is not Move.NOTHING else state.stable)
        again = leave_affected(after, affected=affected, actor=actor, reason="r", unusable=unusable)
        assert not again.changed

    @given(state=states(), affected=FEW, unusable=FEW, by_person=st.booleans())
    def test_the_target_is_the_newest_clean_earlier_stable_version(
        self, state: ServingState, affected: tuple[Version, ...], unusable: tuple[Version, ...], by_person: bool
    ) -> None:
        out = way_out(state, affected, by_person=by_person, unusable=unusable)
        pin = state.golden.version if state.golden and state.golden.by_person and not by_person else None
        clean = [
            version
            for version in state.earlier
            if version not in {*affected, *unusable, *state.quarantined, *state.retired}
            and (pin is None or version >= pin)
        ]
        if out.move is Move.BACK:
            assert state.golden or clean
            assert out.target == (clean[-1] if clean else state.golden and state.golden.version)
            assert out.target not in {*affected, *unusable, *state.quarantined, *state.left[-1:]}
        elif out.move is Move.STUCK:
            assert not clean
        else:
            assert out.target == state.stable

    @given(state=states(), affected=FEW)
    def test_a_clean_stable_version_is_never_moved(self, state: ServingState, affected: tuple[Version, ...]) -> None:
        if state.stable is not None and state.stable not in affected:
            assert way_out(state, affected).target == state.stable
