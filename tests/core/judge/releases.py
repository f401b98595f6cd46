"""Words for the stories of the judge: a release that sees counts of its arms, interval by interval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from airflow_model_ops.core.checks import Assessment, Check, Evidence, Measurement, Summary, Verdict
from airflow_model_ops.core.judge import DispersionMeter, JudgeSettings, ReleaseJudge

START = datetime(2023, 6, 1, 12, tzinfo=UTC)
VERSION = "v-20230601-120000"
ACTING = {Verdict.HARM, Verdict.BREACH}
INDEPENDENT = JudgeSettings(dispersion=1.0)
"""For stories about requests that fail independently, so that their numbers are easy to follow."""

Events = tuple[int, int]
"""Bad events, and all of them."""


def counted(events: Events | None, *, age: float | None = 1.0) -> Measurement | None:
    """Say what a source says that counted events."""
    if events is None:
        return None
    bad, n = events
    return Measurement(value=bad / n if n else None, samples=n, bad=bad, age_seconds=age)


def errors(name: str = "errors", **fields: object) -> Check:
    """Give a check of a share."""
    return Check.from_json({"name": name, "kind": "error_rate", **fields})


def gauge(name: str = "accuracy", **fields: object) -> Check:
    """Give a check of a value."""
    return Check.from_json({"name": name, "kind": "promql", "query": "x", **fields})


class Release:
    """A release under the judge, at a step of 10 % unless told, looked at each 15 seconds of its own clock."""

    def __init__(
        self,
        *checks: Check,
        settings: JudgeSettings = INDEPENDENT,
        has_stable: bool = True,
        percent: float = 10,
        meters: Mapping[str, DispersionMeter] | None = None,
    ) -> None:
        self.checks = checks or (errors(),)
        self.settings, self.has_stable, self.meters = settings, has_stable, meters
        self.now = START
        self.judge = self._new_judge()
        self.judge.enter_step(percent)

    def sees(
        self,
        canary: Events,
        stable: Events | None = None,
        control: Events | None = None,
        *,
        times: int = 1,
        seconds: float = 15,
        check: str | None = None,
    ) -> Release:
        """Let it count the same some intervals in a row, by one check or by all of them."""
        measured = counted(canary)
        assert measured is not None
        for _ in range(times):
            self.hears(measured, counted(stable), counted(control), seconds=seconds, check=check)
        return self

    def hears(
        self,
        canary: Measurement,
        stable: Measurement | None = None,
        control: Measurement | None = None,
        *,
        seconds: float = 15,
        check: str | None = None,
    ) -> Release:
        """Let it hear one answer of the source, by one check or by all of them."""
        begin, self.now = self.now, self.now + timedelta(seconds=seconds)
        names = [each.name for each in self.checks] if check is None else [check]
        self.judge.fold(
            Evidence(
                check=name,
                canary=canary,
                stable=stable,
                control=control,
                at=self.now.isoformat(),
                begin=begin.isoformat(),
            )
            for name in names
        )
        return self

    def enters(self, percent: float) -> Release:
        """Give the canary another share of traffic."""
        self.judge.enter_step(percent)
        return self

    def restarts(self) -> Release:
        """Go on with another judge, from what the first one wrote."""
        written = json.dumps(self.judge.to_json(), allow_nan=False)
        self.judge = self._new_judge()
        self.judge.restore(json.loads(written))
        return self

    @property
    def summary(self) -> Summary:
        return self.judge.summary(subject=VERSION)

    @property
    def verdict(self) -> Verdict:
        return self.summary.verdict

    @property
    def reason(self) -> str:
        return self.summary.reason

    def of(self, check: str) -> Assessment:
        """Give what one check says."""
        return next(each for each in self.summary.assessments if each.check == check)

    def log_harm(self, check: str = "errors") -> float:
        return float(self.of(check).numbers["log_harm"])

    def verdicts(self, canaries: Sequence[Events], stable: Events) -> list[Verdict]:
        """Look after each of some intervals."""
        return [self.sees(canary, stable).verdict for canary in canaries]

    def _new_judge(self) -> ReleaseJudge:
        return ReleaseJudge(self.checks, settings=self.settings, has_stable=self.has_stable, meters=self.meters)
