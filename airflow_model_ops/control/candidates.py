"""Choosing the model of a pipeline that is released next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from airflow_model_ops.control.exports import history_in, sentence
from airflow_model_ops.core.candidates import (
    Candidate,
    CandidateChoice,
    digests_of_pushed_artifacts,
    rule_candidate,
    shown,
)
from airflow_model_ops.core.exports import ExportHistory, Ruling, rule
from airflow_model_ops.core.ports import Repository


def choose_candidate(
    *,
    candidates: Iterable[Candidate],
    repository: Repository,
    model: str,
    again: bool,
    directory_of: Callable[[Candidate], Path] | None = None,
) -> CandidateChoice:
    """Return the newest candidate that was neither promoted nor refused before; the rule of exports, by artifact.

    It goes from the newest to older ones and ends at the first that was promoted, has had its release, or was ready
    already when the newest promoted version was chosen. One that is quarantined, breached a check or got no blessing
    here is passed over.

    :param candidates: Newest first.
    :param again: Whether one whose release ended without a decision is released again: for a person who asks.
    :param directory_of: Returns where a candidate's SavedModel is. Then the content counts, too: the same model may have been
        pushed in another way. Without it nothing but the log is read.
    """
    entries = tuple(repository.log(model).entries())
    history = history_in(entries, repository=repository, model=model)
    pushed = digests_of_pushed_artifacts(entries)
    passed: list[str] = []
    for candidate in candidates:
        ruling, why = rule_candidate(candidate, pushed=pushed, history=history, again=again)
        directory = None
        if ruling is Ruling.RELEASE and directory_of is not None:
            directory = directory_of(candidate)
            ruling, why = _rule_content(repository, directory, history=history, why=why)
        if ruling is Ruling.RELEASE:
            reason = sentence(f"{shown(candidate)} {why}", passed)
            return CandidateChoice(candidate=candidate, reason=reason, directory=directory)
        passed.append(f"{shown(candidate)} {why}")
        if ruling is Ruling.STOP:
            break
    return CandidateChoice(candidate=None, reason=sentence("no model to release", passed or ["there is none yet"]))


def _rule_content(repository: Repository, directory: Path, *, history: ExportHistory, why: str) -> tuple[Ruling, str]:
    ruling, by_content = rule(repository.digest_of(directory), history=history)
    return ruling, why if ruling is Ruling.RELEASE else by_content
