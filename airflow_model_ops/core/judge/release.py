"""The judge of one release: all its checks, one alpha, and one verdict at any moment.

Alpha is one for the whole release. Each unmuted check that can show harm has a fixed part of it, and the checks' e-processes
are averaged with these parts: an average of e-processes is one, however the checks depend on one another. Safety must be
shown by every unmuted check by itself, so beta needs no sharing out. It holds no clock and asks nothing: the same evidence
in the same order gives the same verdict, bit for bit.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from airflow_model_ops.core.checks.definition import Check, CheckKind, Verdict
from airflow_model_ops.core.checks.evidence import Evidence
from airflow_model_ops.core.checks.summary import Assessment, Summary, combine
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.counts import baseline_of, can_be_counts, counts_of
from airflow_model_ops.core.judge.dispersion import DispersionMeter
from airflow_model_ops.core.judge.finding import NONE, CheckJudge, Finding
from airflow_model_ops.core.judge.gauge_check import GaugeCheck
from airflow_model_ops.core.judge.ramp import Pace, RiseDecision
from airflow_model_ops.core.judge.settings import JudgeSettings
from airflow_model_ops.core.judge.share_check import ShareCheck
from airflow_model_ops.core.judge.split_check import SplitCheck

SPLIT = "split"
"""Name under which the split is shown among the checks."""
CRITICAL_SHARE = 0.5
"""Part of alpha that the critical checks have together, where there are others too."""
_SUSPICIOUS = 0.1
"""Part of the evidence that acts from which on a deadline no longer promotes without proof."""
_SCHEMA = 1


class ReleaseJudge:
    """Judges one release.

    :param has_stable: Whether there is a stable version to compare with.
    :param meters: What is known of each check's overdispersion from before the release, by name.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        *,
        settings: JudgeSettings,
        has_stable: bool,
        meters: Mapping[str, DispersionMeter] | None = None,
    ) -> None:
        self._settings = settings
        self._has_stable = has_stable
        known = meters or {}
        self._judges: dict[str, CheckJudge] = {
            check.name: ShareCheck(
                check,
                settings=settings,
                has_stable=has_stable,
                meter=deepcopy(known.get(check.name, DispersionMeter())),
            )
            if check.is_share
            else GaugeCheck(check, settings=settings, has_stable=has_stable)
            for check in checks
        }
        self._parts = parts_of_alpha(self._judges.values())
        self._split: SplitCheck | None = None
        self._split_at = -math.inf
        self._requests_of = _counts_requests(checks)

    def enter_step(self, percent: float) -> None:
        """Begin a share of traffic: safety and the split are shown anew, harm is carried on."""
        for judge in self._judges.values():
            judge.enter_step()
        compared = self._has_stable and 0 < percent < 100
        self._split = SplitCheck(settings=self._settings, percent=float(percent)) if compared else None

    def fold(self, evidence: Iterable[Evidence]) -> None:
        """Take in one interval of any of the checks, each at most once.

        :raises InvalidState: if there is no such check.
        """
        everything = list(evidence)
        for each in everything:
            if each.check not in self._judges:
                raise InvalidState(f"there is evidence of a check {each.check!r} that the policy does not have")
            self._judges[each.check].fold(each)
        self._fold_split(everything)

    def summary(self, *, subject: str) -> Summary:
        """Say what all checks together show now.

        :param subject: How the sentences call the canary, e.g. its version.
        """
        findings = {name: judge.finding(subject=subject) for name, judge in self._judges.items()}
        acting = self._acting(findings)
        assessments = [self._assessment(name, finding, acting=acting.get(name)) for name, finding in findings.items()]
        mismatch = None if self._split is None else self._split.mismatch()
        if mismatch is not None:
            assessments.append(Assessment(check=SPLIT, verdict=Verdict.SPLIT_MISMATCH, reason=mismatch))
        return combine(assessments)

    def log_harm_line(self, check: str) -> float | None:
        """Return the logarithm of the evidence at which a check's harm acts by itself; ``None`` if it can show none.

        Evidence of several checks adds up, so that together they may act below it. A muted one decides nothing; its line is
        that of a check with all of alpha for itself.

        :raises InvalidState: if there is no such check.
        """
        judge = self._judges.get(check)
        if judge is None:
            raise InvalidState(f"there is no check {check!r}; the policy has {sorted(self._judges)}")
        if not judge.parts:
            return None
        return math.log(judge.parts / (self._parts.get(check, 1.0) * self._settings.alpha))

    def may_rise(self, percent: float, *, pace: Pace) -> RiseDecision | None:
        """Say whether a larger share of traffic fits into the harm budget of every deciding check; ``None``: none has one."""
        decisions = [
            judge.may_rise(percent, pace=pace, alpha_part=self._parts[name])
            for name, judge in self._judges.items()
            if isinstance(judge, ShareCheck) and name in self._parts
        ]
        told = [decision for decision in decisions if decision is not None]
        return min(told, key=lambda decision: (decision.allowed, decision.left - decision.expected_extra), default=None)

    def to_json(self) -> dict[str, Any]:
        """Give what :meth:`restore` needs to go on bit for bit: some kilobytes, however long the release lasts."""
        return {
            "schema": _SCHEMA,
            "checks": {name: judge.to_json() for name, judge in self._judges.items()},
            "split": None if self._split is None else self._split.to_json(),
            "split_at": self._split_at if math.isfinite(self._split_at) else None,
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_json` gave for the same checks and settings.

        :raises InvalidState: if it belongs to others, or cannot be read.
        """
        try:
            if data["schema"] != _SCHEMA or set(data["checks"]) != set(self._judges):
                raise InvalidState(
                    f"kept evidence is of schema {data['schema']!r} and checks {sorted(data['checks'])}, but the policy has "
                    f"{sorted(self._judges)}; abort the release and start it again"
                )
            for name, judge in self._judges.items():
                judge.restore(data["checks"][name])
            self._split = None
            if data["split"] is not None:
                self._split = SplitCheck(settings=self._settings, percent=float(data["split"]["percent"]))
                self._split.restore(data["split"])
            self._split_at = -math.inf if data["split_at"] is None else float(data["split_at"])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as fault:
            raise InvalidState(f"kept evidence cannot be read ({fault!r}); abort the release") from fault

    def _fold_split(self, everything: Sequence[Evidence]) -> None:
        """Judge the split on the router's own counts of requests, always by one check: two would count each twice."""
        if self._split is None:
            return
        for each in everything:
            at = each.instant.timestamp()
            if each.check == self._requests_of and at > self._split_at and _is_whole(each):
                self._split_at = at
                self._split.fold(counts_of(each.canary), baseline_of(each))

    def _acting(self, findings: Mapping[str, Finding]) -> dict[str, Verdict]:
        """Return which unmuted checks act, and how."""
        evidence = {
            (name, verdict): math.log(self._parts[name] / self._judges[name].parts) + log_e
            for name, finding in findings.items()
            if self._judges[name].parts and name in self._parts
            for verdict, log_e in ((Verdict.HARM, finding.log_harm), (Verdict.BREACH, finding.log_breach))
            if log_e > NONE
        }
        acting = {name: Verdict.BREACH for name, finding in findings.items() if finding.breached}
        if not evidence:
            return acting
        highest = max(evidence.values())
        total = highest + math.log(math.fsum(math.exp(each - highest) for each in evidence.values()))
        threshold = math.log(1 / self._settings.alpha)
        if not total >= threshold:  # what is no number acts never
            return acting
        for (name, verdict), log_e in sorted(evidence.items(), key=lambda item: item[0][1] is Verdict.HARM):
            if log_e == highest or log_e >= threshold:
                acting[name] = verdict
        return acting

    def _assessment(self, name: str, finding: Finding, *, acting: Verdict | None) -> Assessment:
        check, words = self._judges[name].check, finding.words
        verdict, reason = Verdict.UNDECIDED, words.undecided
        alone = self._alone(name, finding) if check.muted else acting
        if finding.skipped:
            reason = words.undecided
        elif alone is not None:
            verdict, reason = alone, words.harm if alone is Verdict.HARM else words.breach
        elif finding.blind is not None:
            verdict, reason = finding.blind.verdict, finding.blind.reason
        elif finding.safe:
            verdict, reason = Verdict.SAFE, words.safe
        return Assessment(
            check=name,
            verdict=verdict,
            reason=reason,
            skipped=finding.skipped,
            muted=check.muted,
            suspicious=finding.beyond or self._is_suspicious(name, finding),
            numbers=finding.numbers,
        )

    def _alone(self, name: str, finding: Finding) -> Verdict | None:
        """Return how a muted check would act if it had all of alpha for itself."""
        threshold = math.log(max(1, self._judges[name].parts) / self._settings.alpha)
        if finding.log_harm >= threshold:
            return Verdict.HARM
        return Verdict.BREACH if finding.breached or finding.log_breach >= threshold else None

    def _is_suspicious(self, name: str, finding: Finding) -> bool:
        part = self._parts.get(name, 1.0) / max(1, self._judges[name].parts)
        return max(finding.log_harm, finding.log_breach) + math.log(part * self._settings.alpha / _SUSPICIOUS) >= 0


def _counts_requests(checks: Sequence[Check]) -> str | None:
    """Return the check that brings the router's counts of requests: one of errors, or else one of latency."""
    for kind in (CheckKind.ERROR_RATE, CheckKind.LATENCY):
        for check in checks:
            if check.kind is kind:
                return check.name
    return None


def _is_whole(evidence: Evidence) -> bool:
    """Tell whether every arm was counted: with one missing, the others' shares of the requests are not what they were."""
    measured = [evidence.canary, evidence.stable]
    measured += [] if evidence.control is None else [evidence.control]
    return all(each is not None and each.error is None and can_be_counts(each) for each in measured)


def parts_of_alpha(judges: Iterable[CheckJudge]) -> dict[str, float]:
    """Return each deciding check's part of alpha: equal, but critical ones have half of it among themselves."""
    deciding = [judge.check for judge in judges if judge.parts and not judge.check.muted]
    critical = [check.name for check in deciding if check.critical]
    others = [check.name for check in deciding if not check.critical]
    for_critical = 0.0 if not critical else CRITICAL_SHARE if others else 1.0
    return {
        **{name: for_critical / len(critical) for name in critical},
        **{name: (1 - for_critical) / len(others) for name in others},
    }
