"""The release policy of one model: steps, checks, deadlines, validation and retention, as the YAML file states them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from airflow_model_ops.core.checks import Check, Verdict
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.judge.settings import JudgeSettings
from airflow_model_ops.core.state import LARGEST_HOLD_BACK
from airflow_model_ops.core.versioning import VersionNaming, check_model_name

MAX_CHECKS = 100
"""Most checks of one model: each is asked at every interval, kept with its state, and gets a part of alpha."""
MAX_CONSECUTIVE = 1000
"""Most measurements in a row a check may ask for."""


class OnDeadline(StrEnum):
    """What a step does when its deadline passes without a verdict that acts."""

    HOLD = "hold"
    """Freeze the step and wait for a person."""
    ABORT = "abort"
    """End the canary; stable is untouched."""
    ASK = "ask"
    """Freeze the step and ask a person in the Airflow UI to let it pass or to end it; the canary is watched meanwhile."""
    PROMOTE = "promote"
    """Go on, recorded as "without proof"; only for UNDECIDED: blindness and a limit crossed just now never promote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One share of traffic and how long it is held at least.

    :param bake_seconds: Seconds the share is held before SAFE lets it rise.
    """

    percent: float
    bake_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How long a release is watched after its promotion. Its part of alpha is the release's own.

    :param seconds: From the promotion on; 0 for no watch.
    :param hold_back: Share of traffic in percent that the former stable keeps meanwhile, to compare with; 0: only absolute
        limits are judged.
    """

    seconds: float = 0.0
    hold_back: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """How stable is guarded against its own ceilings, for as long as it serves.

    :param checks: Shares with a ceiling (``max``).
    :param mean_seconds: Mean time between two false alarms, at least, of all checks together.
    :param interval_seconds: Seconds between two measurements.
    :param dispersion: The overdispersion assumed of a check whose noise was not measured yet.
    :raises InvalidConfig: with every mistake at once.
    """

    checks: tuple[Check, ...]
    mean_seconds: float = 90 * 86_400.0
    interval_seconds: float = 15.0
    dispersion: float = JudgeSettings().dispersion

    def __post_init__(self) -> None:
        mistakes = list(_mistakes_of_guard(self))
        if mistakes:
            raise InvalidConfig("; ".join(mistakes), mistakes=mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What a version must show before it gets traffic.

    :param examples: Path of an ``.npz`` with arrays ``x`` and ``y``; ``None``: only loading and signature are checked.
    :param min_accuracy: Lowest accepted accuracy on the examples, 0 to 1.
    :param max_accuracy_drop: How far below stable's accuracy on the same examples it may be, 0 to 1.
    :param timeout_seconds: For loading and all examples.
    """

    examples: str | None = None
    min_accuracy: float | None = None
    max_accuracy_drop: float | None = None
    timeout_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePolicy:
    """How one model is released.

    :param steps: Rising shares; the last one that is held before the promotion need not be 100.
    :param interval_seconds: Seconds between two measurements of a step's checks.
    :param deadline_seconds: Longest a step may last before ``on_deadline`` decides.
    :param judge: The error rates that the verdicts keep.
    :param calibration_seconds: How far back the noise of the counts is measured before a release begins.
    :param max_bad_events: Cap of the expected extra bad events of a whole release, per check: a share of traffic rises only
        once what is not excluded yet would stay below it. ``None``: no cap.
    :param refuse_undecidable: Whether a release is refused whose checks cannot decide within the deadline by the present
        traffic; else that is a warning.
    :param keep_last: How many promoted versions retention keeps.
    :param keep_warm: How many earlier stable versions stay loaded.
    :param load_seconds: Longest a version may take to load on every server.
    :raises InvalidConfig: with every mistake at once.
    """

    model: str
    naming: VersionNaming = field(default_factory=VersionNaming)
    steps: tuple[Step, ...]
    checks: tuple[Check, ...]
    interval_seconds: float = 15.0
    deadline_seconds: float = 3600.0
    on_deadline: OnDeadline = OnDeadline.HOLD
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    watch: Watch = field(default_factory=Watch)
    calibration_seconds: float = 6 * 3600.0
    max_bad_events: float | None = None
    refuse_undecidable: bool = False
    validation: Validation = field(default_factory=Validation)
    keep_last: int = 5
    keep_warm: int = 1
    load_seconds: float = 600.0

    def __post_init__(self) -> None:
        check_model_name(self.model)
        mistakes = [*_mistakes_of_steps(self), *_mistakes_of_checks(self), *_mistakes_of_sizes(self)]
        if mistakes:
            raise InvalidConfig(f"release policy of model {self.model!r}: {'; '.join(mistakes)}", mistakes=mistakes)


def _mistakes_of_steps(policy: ReleasePolicy) -> Iterator[str]:
    shares = [step.percent for step in policy.steps]
    if not shares:
        yield "canary.steps is empty; give at least one, such as {percent: 10, bake: 5m}"
    for before, after in itertools.pairwise(shares):
        if after <= before:
            yield f"canary.steps must rise: {after:g} % comes after {before:g} %"
    for step in policy.steps:
        if not 0 < step.percent <= 100 or round(step.percent, 2) != step.percent:
            yield f"canary.steps: {step.percent!r} % is not usable; give 0.01 to 100 in steps of 0.01"
        if step.bake_seconds > policy.deadline_seconds:
            yield (
                f"canary.steps: the {step.percent:g} % step bakes {step.bake_seconds:g} s, longer than the deadline of "
                f"{policy.deadline_seconds:g} s; raise canary.deadline"
            )


def _mistakes_of_checks(policy: ReleasePolicy) -> Iterator[str]:
    if len(policy.checks) > MAX_CHECKS:
        yield f"checks: {len(policy.checks)} are listed; give at most {MAX_CHECKS}"
        return
    names = [check.name for check in policy.checks]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"checks: {name!r} is listed more than once; give each check a name of its own"
    if not any(not check.muted for check in policy.checks):
        yield "checks: no unmuted check is listed, so nothing could ever be shown safe; add one"
    for check in policy.checks:
        yield from _mistakes_of_patience(check, policy)


def _mistakes_of_patience(check: Check, policy: ReleasePolicy) -> Iterator[str]:
    """Name a check that needs more measurements in a row than a step can have, so that it would never decide."""
    if check.consecutive > MAX_CONSECUTIVE:
        yield f"checks: {check.name!r} has consecutive {check.consecutive}; give at most {MAX_CONSECUTIVE}"
    elif not check.is_share and check.consecutive * policy.interval_seconds > policy.deadline_seconds:
        yield (
            f"checks: {check.name!r} needs {check.consecutive} measurements in a row, one each {policy.interval_seconds:g} s,"
            f" longer than the deadline of {policy.deadline_seconds:g} s; lower consecutive or raise canary.deadline"
        )


def _mistakes_of_sizes(policy: ReleasePolicy) -> Iterator[str]:
    if policy.interval_seconds < 1:
        yield f"canary.interval is {policy.interval_seconds!r} s; give at least 1 s"
    if policy.keep_last < 1:
        yield f"retention.keep_last is {policy.keep_last!r}; keep at least 1 version"
    if policy.keep_warm < 0:
        yield f"keep_warm is {policy.keep_warm!r}; give 0 or more"
    if policy.max_bad_events is not None and not policy.max_bad_events > 0:
        yield f"canary.max_bad_events is {policy.max_bad_events!r}; give a number above 0"
    if not 0 <= policy.calibration_seconds <= 86_400:
        yield f"judge.calibrate is {policy.calibration_seconds:g} s; give 0 to 24h"
    yield from _mistakes_of_watch(policy)


def _mistakes_of_watch(policy: ReleasePolicy) -> Iterator[str]:
    share, seconds = policy.watch.hold_back, policy.watch.seconds
    if not 0 <= share <= LARGEST_HOLD_BACK or round(share, 2) != share:
        yield f"watch.hold_back is {share!r} %; give 0 to {LARGEST_HOLD_BACK:g} in steps of 0.01"
    if share and not seconds:
        yield "watch.hold_back needs watch.duration: how long the former stable keeps its share"
    able = [check for check in policy.checks if not check.muted and (share or check.has_absolute_limit)]
    if seconds and not able:
        yield "watch: without hold_back only checks with an absolute limit (max, min) can be judged, and there is none"


def guarded_checks(checks: Iterable[Check], *, names: Collection[str] | None) -> tuple[Check, ...]:
    """Return the checks that guard stable.

    :param names: Those that were named; ``None``: every unmuted one that has a ceiling.
    :raises InvalidConfig: if there is no check of a name.
    """
    known = {check.name: check for check in checks}
    unknown = sorted(set(names or ()) - known.keys())
    if unknown:
        mistake = (
            f"guard.checks: there is no check {', '.join(map(repr, unknown))}; there are {', '.join(map(repr, known))}"
        )
        raise InvalidConfig(mistake, mistakes=[mistake])
    if names is not None:
        return tuple(check for name, check in known.items() if name in names)
    return tuple(check for check in known.values() if check.is_share and check.max is not None and not check.muted)


def _mistakes_of_guard(guard: Guard) -> Iterator[str]:
    if not guard.checks:
        yield "guard: there is no ceiling to guard; give an unmuted error_rate, latency or wrong_predictions check a max"
    for check in guard.checks:
        if not check.is_share or check.max is None:
            yield f"guard.checks: {check.name!r} has no ceiling; name shares of bad events that have a max"
        if check.muted:
            yield f"guard.checks: {check.name!r} is muted, so it decides nothing; unmute it or do not list it"
    if guard.interval_seconds < 1:
        yield f"guard.interval is {guard.interval_seconds!r} s; give at least 1 s"
    if not guard.mean_seconds >= 100 * guard.interval_seconds:
        yield (
            f"guard.mean_time_between_false_alarms is {guard.mean_seconds:g} s; give at least 100 times the interval of "
            f"{guard.interval_seconds:g} s, such as 90d"
        )


class StepMove(StrEnum):
    """What a step does next."""

    WAIT = "wait"
    PASS = "pass"  # noqa: S105 (no password)
    PASS_WITHOUT_PROOF = "pass_without_proof"  # noqa: S105 (no password)
    ABORT = "abort"
    HOLD = "hold"
    ASK = "ask"


ACTING = frozenset({Verdict.HARM, Verdict.BREACH})
"""The only verdicts that act by themselves."""


def next_move(
    verdict: Verdict,
    *,
    baked_seconds: float,
    step: Step,
    waited_seconds: float,
    deadline_seconds: float,
    on_deadline: OnDeadline,
    suspicious: bool = False,
    may_rise: bool = True,
) -> StepMove:
    """Return what a step does on a verdict.

    :param baked_seconds: Since the share was applied.
    :param waited_seconds: Since the deadline began to count.
    :param suspicious: Much speaks against the canary already: then a deadline holds where it would promote.
    :param may_rise: Whether the next share fits into the harm budget; else the step waits, for its deadline at most.
    """
    if verdict in ACTING:
        return StepMove.ABORT
    if verdict is Verdict.SAFE and baked_seconds >= step.bake_seconds and may_rise:
        return StepMove.PASS
    if waited_seconds < deadline_seconds:
        return StepMove.WAIT
    if (
        on_deadline is OnDeadline.PROMOTE
        and verdict in {Verdict.UNDECIDED, Verdict.SAFE}
        and not suspicious
        and may_rise
    ):
        return StepMove.PASS_WITHOUT_PROOF
    if on_deadline is OnDeadline.ABORT:
        return StepMove.ABORT
    return StepMove.ASK if on_deadline is OnDeadline.ASK else StepMove.HOLD
