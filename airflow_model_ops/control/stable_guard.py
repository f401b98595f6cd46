"""Guarding the stable version of one model: ask the metric source, keep what was counted, say when it is above a ceiling.

What is known lies in one small file of the repository, which is read before each interval and replaced after it, together
with how far each check was counted. So a guard that is restarted, moved or run twice counts no event twice and forgets
nothing. It belongs to one stable version; the next one starts anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_model_ops.control.commit import seconds_of
from airflow_model_ops.control.heads import Head, read_head
from airflow_model_ops.core.checks import Arms, Check, Evidence
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.guard import Alarm, GuardJudge
from airflow_model_ops.core.policy import Guard
from airflow_model_ops.core.ports import Clock, Log, MetricSource, Repository
from airflow_model_ops.core.state import Actor
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.core.versioning import Version

GuardedArmsOf = Callable[[str, Version], Arms]
"""How a metric source knows a model's stable version: as the arm ``canary``, with its control group."""

PLACE = "guard"
"""Where its evidence is kept, in the place of a release's id; no release is called so."""
_STATE = "stable"
_SCHEMA = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StableAlarm:
    """The stable version of a model is above a ceiling.

    :param generation: The head under which it was seen.
    """

    model: str
    version: Version
    generation: int
    alarm: Alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """How far one check was counted.

    :param question: The check as it was asked; another question starts anew.
    :param begin: Nothing from before is counted, seconds since the epoch.
    :param after: The end of what was counted, on the source's clock.
    :param state: The judge's state of it; ``None`` before the first interval.
    """

    question: Mapping[str, Any]
    begin: float
    after: str | None = None
    state: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {"question": self.question, "begin": self.begin, "after": self.after, "state": self.state}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> _Course:
        return cls(question=data["question"], begin=float(data["begin"]), after=data["after"], state=data["state"])


class StableGuard:
    """Guards the stable version of one model. It changes nothing but its own kept state.

    :param guard: The ceilings and how seldom a false alarm may come.
    :param arms_of: How the metric source knows the version.
    """

    def __init__(
        self,
        *,
        repository: Repository,
        source: MetricSource,
        model: str,
        guard: Guard,
        arms_of: GuardedArmsOf,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._source = source
        self._model = model
        self._guard = guard
        self._arms_of = arms_of
        self._clock = clock

    def look(self) -> StableAlarm | None:
        """Count one interval of the version that serves as stable; say if it is above a ceiling now.

        Without fresh counts nothing is said. Nor is anything counted of a version that is not applied yet.
        """
        head = read_head(self._repository.log(self._model))
        version = head.state.stable if head is not None else None
        if head is None or version is None:
            return None
        courses = self._kept(version)
        if courses is None and head.applied_at is None:
            return None
        courses = self._present(courses or {}, head)
        judge = self._judge(courses)
        evidence = self._gather(version, courses)
        judge.fold(evidence.values())
        self._keep(version, courses, evidence, judge)
        alarm = judge.alarm(subject=f"stable {version}")
        if alarm is None:
            return None
        return StableAlarm(model=self._model, version=version, generation=head.generation, alarm=alarm)

    def keep_alarm(self, found: StableAlarm) -> str:
        """Keep what is behind an alarm; return the reference that a log entry carries."""
        alarm = found.alarm
        data = {
            "schema": _SCHEMA,
            "model": found.model,
            "version": found.version.name,
            "check": alarm.check,
            "at": alarm.at,
            "reason": alarm.reason,
            "numbers": dict(alarm.numbers),
        }
        name = f"alarm-{found.version}-{alarm.at}"
        return self._repository.write_evidence(self._model, PLACE, name, _to_bytes(data))

    def _kept(self, version: Version) -> dict[str, _Course] | None:
        """Return what is kept of a version; ``None`` if nothing is, or nothing that can be read."""
        content = self._repository.read_evidence(self._model, PLACE, _STATE)
        if content is None:
            return None
        try:
            data = json.loads(content)
            if data["schema"] != _SCHEMA or data["version"] != version.name:
                return None
            return {name: _Course.from_json(each) for name, each in data["checks"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            _log.warning("model=%s the guard starts anew: what it kept cannot be read: %r", self._model, error)
            return None

    def _present(self, kept: Mapping[str, _Course], head: Head) -> dict[str, _Course]:
        """Return the course of each check that guards now; one that is new looks from now on and not into the past."""
        now = self._clock.now()
        applied_at = min(head.applied_at or 0.0, now)  # the clock of who applied it may be ahead
        begin = max(applied_at, now - self._guard.interval_seconds)
        courses = {}
        for check in self._guard.checks:
            question, course = check.to_json(), kept.get(check.name)
            fresh = course is None or course.question != question
            courses[check.name] = _Course(question=question, begin=begin) if fresh or course is None else course
        return courses

    def _judge(self, courses: Mapping[str, _Course]) -> GuardJudge:
        guard = self._guard
        judge = GuardJudge(
            guard.checks,
            mean_seconds=guard.mean_seconds,
            interval_seconds=guard.interval_seconds,
            dispersion=guard.dispersion,
        )
        for name, course in courses.items():
            if course.state is not None:
                try:
                    judge.restore(name, course.state)
                except InvalidState as error:
                    _log.warning("model=%s check=%s is judged anew: %s", self._model, name, error)
        return judge

    def _gather(self, version: Version, courses: Mapping[str, _Course]) -> dict[str, Evidence]:
        arms = self._arms_of(self._model, version)
        return {check.name: self._ask(check, arms, courses[check.name]) for check in self._guard.checks}

    def _ask(self, check: Check, arms: Arms, course: _Course) -> Evidence:
        return self._source.gather(check, model=self._model, arms=arms, begin=course.begin, after=course.after)

    def _keep(
        self,
        version: Version,
        courses: Mapping[str, _Course],
        evidence: Mapping[str, Evidence],
        judge: GuardJudge,
    ) -> None:
        """Keep how far everything was counted, with what it showed, in one write; nothing new is not written."""
        if all(evidence[name].at == course.after for name, course in courses.items()):
            return
        states = judge.to_json()
        checks = {
            name: replace(course, after=evidence[name].at, state=states[name]).to_json()
            for name, course in courses.items()
        }
        data = {"schema": _SCHEMA, "version": version.name, "checks": checks}
        self._repository.write_evidence(self._model, PLACE, _STATE, _to_bytes(data))


def recent_way_back(log: Log, *, actor: Actor, since: float) -> str | None:
    """Return the reason of the rollback by which an actor has put the present stable version there; ``None``: it has not.

    :param since: Seconds since the epoch; what is older does not count.
    """
    head = read_head(log)
    entry = head.entry if head is not None else None
    while entry is not None and entry.state is not None and seconds_of(entry.at) >= since:
        if head is None or entry.state.stable != head.state.stable:
            return None
        if entry.action is Action.ROLLBACK and entry.origin.actor == actor:
            return entry.reason
        before = log.read(entry.sequence - 1)
        entry = before if before is None or before.is_transition else log.read(before.generation)
    return None


def _to_bytes(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()
