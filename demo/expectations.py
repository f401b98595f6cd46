"""What must have happened by the end of the demo; `make demo EXIT=1` succeeds only if all of it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.state import ServingState
from demo.outcomes import Outcome
from demo.record import Record

BACK_WITHIN_SECONDS = 30.0
"""Longest from the first bad answer of a canary, or from a person's request, to the last answer by that version."""
SENT_SHARE = 0.95
SLOW_MS = 50.0
"""The bound of the latency check in the model's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One thing that must have happened, and whether it did.

    :param found: What was found instead, or the measured number.
    """

    text: str
    held: bool
    found: str = ""

    def __str__(self) -> str:
        return f"{'ok    ' if self.held else 'FAILED'} {self.text}{f' ({self.found})' if self.found else ''}"


def expectations(
    outcomes: Mapping[str, Outcome], *, record: Record, account: Mapping[str, Any], golden_run: str
) -> list[Expectation]:
    """Compare the story with how it had to go."""
    good, better, bad, slow, back = (outcomes[name] for name in ("good-1", "good-2", "bad", "slow", "rollback"))
    return [
        _promoted(good),
        _golden(good, record.state, run_state=golden_run),
        _promoted(better),
        *_sent_away(bad, verdicts=(Verdict.HARM,), check="wrong_predictions", stable=better),
        *_sent_away(slow, verdicts=(Verdict.HARM, Verdict.BREACH), check="latency", stable=better),
        _really_slow(slow),
        *_taken_back(back, golden=good, left=better),
        *_traffic(account, last=back),
        _complete(record),
    ]


def _promoted(outcome: Outcome) -> Expectation:
    stable = outcome.state.stable if outcome.state else None
    held = outcome.run_state == "success" and outcome.verdict is Verdict.SAFE and stable == outcome.version is not None
    found = "" if held else f"run {outcome.run_state}, verdict {outcome.verdict}, stable {stable}: {outcome.why}"
    return Expectation(text=f"{outcome.name} was judged SAFE and became stable", held=held, found=found)


def _golden(good: Outcome, state: ServingState | None, *, run_state: str) -> Expectation:
    golden = state.golden if state else None
    held = run_state == "success" and golden is not None and golden.by_person and golden.version == good.version
    return Expectation(
        text=f"{good.name} is golden, pinned by a person", held=held, found="" if held else f"golden is {golden}"
    )


def _sent_away(
    outcome: Outcome, *, verdicts: tuple[Verdict, ...], check: str, stable: Outcome
) -> Iterator[Expectation]:
    """Expect that a version was judged and taken out; only one that is shown to be worse than stable is quarantined.

    :param verdicts: What it may have been judged: a slow one is worse than stable and above its ceiling, whichever shows first.
    """
    state, quarantined = outcome.state, outcome.verdict is Verdict.HARM
    what = "quarantined" if quarantined else "left a candidate"
    judged = outcome.verdict if outcome.verdict in verdicts else " or ".join(verdicts)
    held = (
        outcome.run_state == "failed"
        and outcome.verdict in verdicts
        and outcome.why.startswith(check)
        and state is not None
        and state.canary is None
        and state.stable == stable.version
        and (outcome.version in state.quarantined) is quarantined
    )
    yield Expectation(
        text=f"{outcome.name} was judged {judged} on {check}, aborted and {what}; {stable.name} stayed stable",
        held=held,
        found="" if held else f"run {outcome.run_state}, {outcome.verdict}, {outcome.action}: {outcome.why}",
    )
    yield _back_in_time(
        outcome, text=f"the last answer by {outcome.name} came within {BACK_WITHIN_SECONDS:g} s of its first bad one"
    )


def _back_in_time(outcome: Outcome, *, text: str) -> Expectation:
    recovery = outcome.recovery
    if recovery is None:
        return Expectation(text=text, held=False, found="no way back was taken")
    return Expectation(text=text, held=recovery.seconds < BACK_WITHIN_SECONDS, found=f"{recovery.seconds:.1f} s")


def _really_slow(outcome: Outcome) -> Expectation:
    """The first answer of `slow` counts as its first slow one; so half of them must be."""
    median = outcome.median_ms or 0.0
    return Expectation(
        text=f"half of the answers of {outcome.name} took over {SLOW_MS:g} ms",
        held=median > SLOW_MS,
        found=f"median {median:.0f} ms",
    )


def _taken_back(back: Outcome, *, golden: Outcome, left: Outcome) -> Iterator[Expectation]:
    state = back.state
    held = (
        back.run_state == "success"
        and back.actor is not None
        and back.actor.is_person
        and state is not None
        and state.stable == golden.version
        and left.version in state.left
    )
    yield Expectation(
        text=f"a person's rollback over REST made golden ({golden.name}) stable again",
        held=held,
        found="" if held else f"run {back.run_state}, stable {back.version}: {back.why}",
    )
    yield _back_in_time(
        back, text=f"the last answer by {left.name} came within {BACK_WITHIN_SECONDS:g} s of the request"
    )


def _traffic(account: Mapping[str, Any], *, last: Outcome) -> Iterator[Expectation]:
    failures = "; ".join(str(failure) for failure in account["failures"][:3])
    yield Expectation(
        text="no request failed",
        held=account["failed"] == 0 < account["sent"],
        found=f"{account['failed']:,} of {account['sent']:,}{f': {failures}' if failures else ''}",
    )
    yield Expectation(
        text=f"at least {SENT_SHARE:.0%} of {account['wanted_rate']:g} requests per second were sent",
        held=account["rate"] >= SENT_SHARE * account["wanted_rate"],
        found=f"{account['rate']:.1f} per second",
    )
    newest = max(tally["last_at"] for tally in account["by_version"].values())
    serving = {number for number, tally in account["by_version"].items() if tally["last_at"] > newest - 1.0}
    expected = {str(last.version.number)} if last.version else set()
    yield Expectation(text="golden alone answers now", held=serving == expected, found=", ".join(sorted(serving)))


def _complete(record: Record) -> Expectation:
    text = "ML Metadata holds every entry of the log, once, and the log's chain of digests is whole"
    try:
        entries, recorded = len(record.entries()), record.recorded()
    except ModelOpsError as error:
        return Expectation(text=text, held=False, found=str(error))
    return Expectation(text=text, held=entries == recorded, found=f"{recorded} of {entries}")
