"""Replaying a past release: its verdicts again from its kept evidence, which must be what was recorded, figure by figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from airflow_model_ops.control.evidence_book import EvidenceBook
from airflow_model_ops.core.checks import Summary
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.record import replay
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.state import Fence

_NAMED = 5
"""How many of the newest releases are named when one is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedVerdict:
    """A verdict as it was recorded, and as it follows from the kept evidence now.

    :param entry: Its number in the model's log.
    :param intervals: How many entries of evidence it was made from.
    :param same: Whether both are equal in every figure and word.
    :param differs: The checks whose figures or words do not follow, with what follows now.
    """

    entry: int
    at: str
    release: str
    attempt: int
    intervals: int
    recorded: str
    replayed: str
    same: bool
    differs: str = ""


def replay_release(repository: Repository, *, model: str, release: str) -> tuple[ReplayedVerdict, ...]:
    """Judge a past release again from what was kept of it; asks no metric source.

    :param release: Its id; every attempt of it is replayed.
    :raises InvalidState: if the log has no verdict of it, or its evidence is not there or not readable.
    """
    judged = [entry for entry in repository.log(model).entries() if _is_judged(entry)]
    verdicts = [(entry, fence) for entry in judged if (fence := entry.release) and fence.release == release]
    if not verdicts:
        raise InvalidState(f"the log of model {model!r} has no judged verdict of release {release!r}{_known(judged)}")
    return tuple(_replayed(repository, model, entry, fence) for entry, fence in verdicts)


def replay_model(repository: Repository, *, model: str) -> Iterator[ReplayedVerdict]:
    """Judge every release of a model again, in the log's order; one whose evidence is lost or unreadable differs by that.

    :raises InvalidState: if the log cannot be read.
    """
    for entry in repository.log(model).entries():
        if not _is_judged(entry) or entry.release is None:
            continue
        try:
            yield _replayed(repository, model, entry, entry.release)
        except InvalidState as error:
            yield ReplayedVerdict(
                entry=entry.sequence,
                at=entry.at,
                release=entry.release.release,
                attempt=entry.release.attempt,
                intervals=int(entry.detail["taken_in"]),
                recorded=str(entry.detail["verdict"]),
                replayed="",
                same=False,
                differs=str(error),
            )


def _is_judged(entry: Entry) -> bool:
    return entry.name == FactKind.VERDICT.value and entry.release is not None and "taken_in" in entry.detail


def _known(judged: list[Entry]) -> str:
    newest = list(dict.fromkeys(entry.release.release for entry in reversed(judged) if entry.release))[:_NAMED]
    return f"; it has {', '.join(map(repr, newest))}" if newest else "; it has none of any release"


def _replayed(repository: Repository, model: str, entry: Entry, fence: Fence) -> ReplayedVerdict:
    subject = entry.version.name if entry.version else "the canary"
    taken_in = int(entry.detail["taken_in"])
    try:
        summary = _judged_again(repository, model, fence, taken_in=taken_in, subject=subject)
    except InvalidState as error:
        raise InvalidState(
            f"entry {entry.sequence} of model {model!r}, the {entry.detail['verdict']} of release {fence.release!r} attempt "
            f"{fence.attempt}, cannot be replayed: {error}; restore its files under evidence/ from a backup"
        ) from error
    differs = "; ".join(_differences(entry, summary))
    return ReplayedVerdict(
        entry=entry.sequence,
        at=entry.at,
        release=fence.release,
        attempt=fence.attempt,
        intervals=taken_in,
        recorded=str(entry.detail["verdict"]),
        replayed=summary.verdict.value,
        same=not differs,
        differs=differs,
    )


def _judged_again(repository: Repository, model: str, fence: Fence, *, taken_in: int, subject: str) -> Summary:
    book = EvidenceBook(repository, model=model, fence=fence)
    if book.load() is None:
        raise InvalidState("nothing is kept of it in the repository")
    kept = tuple(islice(book.entries(), taken_in))
    if len(kept) < taken_in:
        raise InvalidState(f"only {len(kept)} of the {taken_in} intervals behind it are kept")
    return replay(book.opening, kept).summary(subject=subject)


def _differences(entry: Entry, summary: Summary) -> Iterator[str]:
    """Tell, check by check, what does not follow; the log holds JSON, so both are compared as that."""
    recorded = {each["check"]: each for each in entry.detail["assessments"]}
    again = {each["check"]: each for each in json.loads(json.dumps(summary.to_json()["assessments"]))}
    for name in sorted({*recorded, *again}):
        if recorded.get(name) != again.get(name):
            yield again[name]["reason"] if name in again else f"{name} is not judged"
    if summary.verdict.value != entry.detail["verdict"]:
        yield f"the verdict is {summary.verdict.value}"
