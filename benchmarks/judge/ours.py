"""The project's own judge behind the benchmark's interface: evidence in, summary out, exactly as a release runs it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from airflow_model_ops.core.checks import Check, CheckKind, Summary, Verdict
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.dispersion import DispersionMeter
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.core.judge.settings import JudgeSettings
from benchmarks.judge.evidence import Source
from benchmarks.judge.judges import Answer
from benchmarks.judge.scenes import Scene
from benchmarks.judge.traffic import Drawn, Seen

CHECK = "errors"
SETTINGS = JudgeSettings()
MAX_RATIO = 1.1
SUBJECT = "v-20230601-120000"

_ANSWERS = {Verdict.HARM: Answer.ROLL_BACK, Verdict.BREACH: Answer.ROLL_BACK, Verdict.SAFE: Answer.PROMOTE}


def check_of(scene: Scene, *, name: str = CHECK) -> Check:
    """Return the check that a scene's release is judged by."""
    return Check(
        name=name,
        kind=CheckKind.ERROR_RATE,
        max_ratio_to_stable=MAX_RATIO,
        negligible=scene.negligible,
        margin=scene.margin,
        max_age_seconds=max(60.0, 2 * scene.peek_seconds),
    )


def calibrated(history: Iterable[Seen]) -> DispersionMeter:
    """Return the overdispersion that stable and control showed before the release."""
    meter = DispersionMeter()
    for seen in history:
        meter.fold(Counts(*seen.control), Counts(*seen.stable))
    return meter


class Ours:
    """One release judged by :class:`ReleaseJudge`.

    :param history: Stable and control before the release; ``None``: nothing is known, and the stated default holds.
    :param restart_every: Intervals after which the judge is written down as JSON and a new one goes on from it.
    """

    def __init__(self, scene: Scene, *, history: Drawn | None = None, restart_every: int | None = None) -> None:
        self._check = check_of(scene)
        self._meter = DispersionMeter() if history is None else calibrated(history)
        self._source, self._percent = Source(self._check.name), -1.0
        self._restart_every, self._looks = restart_every, 0
        self._judge = self._new_judge()
        self._summary: Summary | None = None

    def observe(self, seen: Seen) -> Answer:
        """Take one interval in as evidence, and read the verdict."""
        return _ANSWERS.get(self.look(seen).verdict, Answer.WAIT)

    def look(self, seen: Seen) -> Summary:
        """Take one interval in, and give the whole summary."""
        if self._restart_every and self._looks % self._restart_every == 0:
            self._restart()
        self._looks += 1
        if seen.percent != self._percent:
            self._percent = seen.percent
            self._judge.enter_step(seen.percent)
        self._judge.fold([self._source.answer(seen)])
        self._summary = self._judge.summary(subject=SUBJECT)
        return self._summary

    def enter_step(self, percent: float) -> None:
        """Begin a step now, whatever the next interval's percent is."""
        self._percent = percent
        self._judge.enter_step(percent)

    @property
    def state(self) -> str:
        """What is kept between two looks."""
        return json.dumps(self._judge.to_json())

    @property
    def log_harm(self) -> float:
        """Natural logarithm of the evidence of harm at the last look."""
        if self._summary is None:
            return 0.0
        return float(self._summary.assessments[0].numbers["log_harm"])

    def _new_judge(self) -> ReleaseJudge:
        return ReleaseJudge([self._check], settings=SETTINGS, has_stable=True, meters={self._check.name: self._meter})

    def _restart(self) -> None:
        state = json.loads(self.state)
        self._judge = self._new_judge()
        self._judge.restore(state)
