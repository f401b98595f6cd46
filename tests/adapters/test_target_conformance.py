"""What every target promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_model_ops.core.errors import LoadFailed, ModelOpsError
from airflow_model_ops.core.versioning import Version
from tests.adapters.target_rigs import RIGS, TargetRig
from tests.adapters.vertex_story import MODEL, brought, passes, plan_of, state_of
from tests.waits import until

pytestmark = pytest.mark.integration

FOCUS = frozenset({MODEL})
LONG = 3600.0
"""Longer than any drain."""


@pytest.fixture(params=list(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TargetRig]:
    with RIGS[request.param](tmp_path) as ready:
        yield ready


def shares(split: dict[Version, float]) -> dict[str, float]:
    return {str(version.number): percent for version, percent in split.items()}


def test_it_serves_what_the_plans_say_one_after_the_other_and_says_so(rig: TargetRig) -> None:
    target, (v1, v2, *_) = rig.target, rig.versions
    target.check()
    assert target.document_generations() == {}
    steps = [
        (state_of(v1), {v1: 100.0}),
        (state_of(v1, canary=(v2, 0)), {v1: 100.0}),
        (state_of(v1, canary=(v2, 10)), {v1: 90.0, v2: 10.0}),
        (state_of(v1, canary=(v2, 50)), {v1: 50.0, v2: 50.0}),
        (state_of(v2, earlier=(v1,), golden=v1), {v2: 100.0}),
    ]
    for generation, (state, split) in enumerate(steps, 1):
        assert brought(target, plan_of(generation, state)) == shares(split)
        seen = target.observe(MODEL)
        assert seen.generation == generation
        assert seen.split == {version.number: percent for version, percent in split.items()}
        assert seen.labels == {label: version.number for label, version in state.labels.items()}
        warm = {version.number for version in state.warm}
        assert all(held is not None and warm <= held for held in seen.loaded.values())
        assert target.document_generations() == {MODEL: generation}
        assert all(target.is_loaded(MODEL, version) for version in state.warm)
        assert target.astray(plan_of(generation, state, settled_seconds=1.0)) == {}


def test_a_pass_never_waits_for_a_load_and_says_what_it_waits_for(rig: TargetRig) -> None:
    v1, v2, *_ = rig.versions
    brought(rig.target, plan_of(1, state_of(v1)))
    for progress in passes(rig.target, plan_of(2, state_of(v1, canary=(v2, 50)))):
        if MODEL not in progress.applied:
            assert progress.pending[MODEL]
            assert rig.target.observe(MODEL).split == {v1.number: 100.0}


def test_repeating_a_pass_changes_nothing(rig: TargetRig) -> None:
    v1, v2, *_ = rig.versions
    plan = plan_of(1, state_of(v1, canary=(v2, 20)))
    first = brought(rig.target, plan)
    seen = rig.target.observe(MODEL)
    assert [brought(rig.target, plan) for _ in range(2)] == [first, first]
    assert rig.target.observe(MODEL) == seen


def test_what_is_applied_and_not_in_focus_is_left_alone(rig: TargetRig) -> None:
    v1, *_ = rig.versions
    plan = plan_of(1, state_of(v1))
    brought(rig.target, plan)
    progress = rig.target.apply(plan, focus=frozenset())
    assert (progress.applied, progress.pending, progress.failed) == ({}, {}, {})


def test_a_way_back_to_a_loaded_version_takes_one_pass(rig: TargetRig) -> None:
    v1, v2, *_ = rig.versions
    brought(rig.target, plan_of(1, state_of(v1, canary=(v2, 50))))
    back = plan_of(2, state_of(v1, quarantined=(v2,)), urgent=True, spare=(v2,))
    assert rig.target.apply(back, focus=FOCUS).applied == {MODEL: {str(v1.number): 100.0}}
    assert rig.target.observe(MODEL).split == {v1.number: 100.0}


def test_a_version_that_cannot_be_loaded_fails_its_head_and_the_former_split_stays(rig: TargetRig) -> None:
    v1, v2, *_ = rig.versions
    brought(rig.target, plan_of(1, state_of(v1)))
    rig.break_loads()
    *_, last = passes(rig.target, plan_of(2, state_of(v1, canary=(v2, 10))))
    assert isinstance(last.failed[MODEL], LoadFailed)
    assert rig.target.observe(MODEL).split == {v1.number: 100.0}
    assert not rig.target.is_loaded(MODEL, v2)
    assert brought(rig.target, plan_of(3, state_of(v1), urgent=True)) == {str(v1.number): 100.0}


def test_unloading_leaves_what_a_plan_spares_or_serves_and_ends_the_rest(rig: TargetRig) -> None:
    v1, v2, v3, *_ = rig.versions
    brought(rig.target, plan_of(1, state_of(v1)))
    brought(rig.target, plan_of(2, state_of(v2, earlier=(v1,))))
    state = state_of(v3, earlier=(v1, v2))
    brought(rig.target, plan_of(3, state))
    spared = plan_of(3, state, spare=(v1,), settled_seconds=LONG)
    everything = frozenset({v1.number, v2.number, v3.number})
    assert rig.target.unload(spared) == {MODEL: everything}
    freed = plan_of(3, state, settled_seconds=LONG)
    until(lambda: rig.target.unload(freed) == {MODEL: everything - {v1.number}}, what="the oldest is unloaded")
    assert not rig.target.is_loaded(MODEL, v1)
    assert rig.target.is_loaded(MODEL, v2)
    assert rig.target.observe(MODEL).split == {v3.number: 100.0}


def test_a_version_that_a_head_needs_again_after_its_unloading_is_loaded_again(rig: TargetRig) -> None:
    v1, v2, *_ = rig.versions
    brought(rig.target, plan_of(1, state_of(v1)))
    brought(rig.target, plan_of(2, state_of(v2)))
    freed = plan_of(2, state_of(v2), settled_seconds=LONG)
    until(lambda: rig.target.unload(freed) == {MODEL: frozenset({v2.number})}, what="it is unloaded")
    assert MODEL in rig.target.astray(plan_of(2, state_of(v2, earlier=(v1,)), settled_seconds=LONG))
    assert brought(rig.target, plan_of(3, state_of(v1), urgent=True)) == {str(v1.number): 100.0}


def test_a_silent_platform_is_an_error_that_a_retry_may_mend_and_is_loaded_never_raises(rig: TargetRig) -> None:
    v1, v2, *_ = rig.versions
    brought(rig.target, plan_of(1, state_of(v1)))
    rig.go_silent()
    with pytest.raises(ModelOpsError) as caught:
        rig.target.check()
    assert caught.value.retryable
    assert not rig.target.is_loaded(MODEL, v1)
    plan = plan_of(2, state_of(v1, canary=(v2, 10)))
    try:
        assert MODEL in rig.target.apply(plan, focus=FOCUS).pending
    except ModelOpsError as error:
        assert error.retryable  # noqa: PT017
    assert isinstance(rig.target.loads_slowly, bool)


def test_a_model_that_nobody_ever_served_is_known_as_such(rig: TargetRig) -> None:
    v1, *_ = rig.versions
    seen = rig.target.observe("nobody")
    assert seen.generation is None
    assert seen.split == {}
    assert not rig.target.is_loaded("nobody", v1)
