"""The ``guard:`` part of a model's file: there is a guard once the part is there, and never one that guards nothing."""

from __future__ import annotations

import pytest

from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.core.errors import InvalidConfig

CHECKS = """\
model: digits
checks:
  - {name: errors, kind: error_rate, max: 0.01}
  - {name: slow, kind: latency, latency_bound_ms: 250, max: 0.05}
  - {name: wrong, kind: wrong_predictions}
  - {name: idle, kind: error_rate, max: 0.5, muted: true}
  - {name: confidence, kind: promql, query: "1", max: 1}
"""


def file(guard: str, *, checks: str = CHECKS) -> ModelFile:
    return parse_model_file(checks + guard)


def test_without_the_part_nothing_is_guarded() -> None:
    assert file("").guard_policy() is None
    assert file("guard: {enabled: false}").guard_policy() is None


@pytest.mark.parametrize("guard", ["guard:", "guard: {}", "guard: {enabled: true}"])
def test_the_part_alone_guards_every_unmuted_share_with_a_ceiling(guard: str) -> None:
    policy = file(guard).guard_policy()

    assert policy is not None
    assert [check.name for check in policy.checks] == ["errors", "slow"]
    assert (policy.mean_seconds, policy.interval_seconds) == (90 * 86_400, 15)


def test_it_takes_the_named_checks_and_its_times_from_the_file() -> None:
    guard = "guard: {checks: [slow], mean_time_between_false_alarms: 30d, interval: 1m}\njudge: {dispersion: 3}"
    policy = file(guard).guard_policy()

    assert policy is not None
    assert [check.name for check in policy.checks] == ["slow"]
    assert (policy.mean_seconds, policy.interval_seconds, policy.dispersion) == (30 * 86_400, 60, 3)


@pytest.mark.parametrize(
    ("guard", "told"),
    [
        ("guard: {checks: [wrong]}", "guard.checks: 'wrong' has no ceiling"),
        ("guard: {checks: [confidence]}", "guard.checks: 'confidence' has no ceiling"),
        ("guard: {checks: [idle]}", "guard.checks: 'idle' is muted"),
        ("guard: {checks: [eror]}", "guard.checks: there is no check 'eror'"),
        ("guard: {checks: []}", "there is no ceiling to guard"),
        ("guard: {interval: 0.5}", "guard.interval is 0.5 s"),
        ("guard: {mean_time_between_false_alarms: 20m}", "guard.mean_time_between_false_alarms is 1200 s"),
        ("guard: {intervall: 15s}", "unknown key"),
    ],
)
def test_a_guard_that_could_not_work_is_a_mistake_with_its_line(guard: str, told: str) -> None:
    with pytest.raises(InvalidConfig, match=r"<text>:8: guard") as caught:
        file(guard)

    assert told in str(caught.value)


def test_a_file_without_any_ceiling_cannot_have_a_guard() -> None:
    with pytest.raises(InvalidConfig, match="there is no ceiling to guard"):
        file("guard: {}", checks="model: digits\nchecks:\n  - {name: errors, kind: error_rate}\n")


@pytest.mark.parametrize("guard", ["", "guard:"])
def test_the_part_survives_the_trip_through_a_triggers_arguments(guard: str) -> None:
    before = file(guard)

    assert ModelFile.model_validate(before.model_dump(mode="json")).guard_policy() == before.guard_policy()
