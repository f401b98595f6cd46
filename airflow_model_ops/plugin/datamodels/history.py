"""What happened: the timeline, the traffic over time, and the evidence of a release."""

from __future__ import annotations

from datetime import datetime

from airflow_model_ops.plugin.datamodels.base import Answer, Event, Page, RunLink, Share, Told


class TimelineEntry(Event):
    """One entry of the log, whole."""

    generation: int
    kind: str
    """``transition`` or ``fact``."""
    run: RunLink | None
    release: str | None
    attempt: int | None
    split: list[Share] | None
    """What should serve after a transition, or does after the fact ``applied``."""
    verdict: str | None
    has_evidence: bool
    """Whether the evidence of its release can be shown."""


class Timeline(Page):
    """A page of a model's log, newest first."""

    entries: list[TimelineEntry]


class Period(Answer):
    """A stretch of time with one confirmed split."""

    begin: datetime
    end: datetime | None
    """``None``: it goes on."""
    split: list[Share]
    generation: int
    reason: Told


class TrafficHistory(Answer):
    """What served when, oldest first, from the facts ``applied``."""

    periods: list[Period]
    begin: datetime | None
    """Nothing is known of the time before; ``None``: nothing ever served."""


class Point(Answer):
    """What one check showed up to one moment of one step.

    Counts are totals over the step. ``ratio`` is the canary's bad rate over stable's, with its confidence sequence:
    ``low`` and ``high`` hold at all moments at once, with the confidence that :class:`EvidenceSeries` names.
    """

    at: datetime
    percent: float
    """The canary's share of traffic then."""
    ratio: float | None
    low: float | None
    high: float | None
    """``None``: unbounded."""
    canary_bad: int | None
    canary_total: int | None
    stable_bad: int | None
    stable_total: int | None
    value: float | None
    """Of a gauge check: the canary's value."""
    stable_value: float | None
    harm: float | None
    """Evidence of harm, log10 of the e-value; at ``harm_line`` of its series it acts."""
    safe: float | None
    """Evidence of safety, log10 of the e-value."""
    verdict: str


class CheckSeries(Answer):
    """One check of a release over time."""

    check: str
    description: str
    kind: str
    """``share`` (bad events of all events) or ``gauge`` (a measured value)."""
    muted: bool
    rollback_line: float | None
    """The risk ratio beyond which a canary is worse than is put up with: ``max_ratio``."""
    promotion_line: float | None
    """The risk ratio below which it must be shown to be: ``margin``."""
    limits: dict[str, float]
    """``min`` and ``max``: of a gauge check's value, or of a share's bad rate."""
    harm_line: float | None
    """log10 of the e-value at which HARM acts."""
    safe_line: float | None
    points: list[Point]
    reason: Told
    """What it says now, a sentence with the numbers."""
    verdict: str


class StepMark(Answer):
    """When a share of traffic began."""

    at: datetime
    percent: float
    watch: bool
    """Whether it is the watch after the promotion: the version is judged against the one that is held back, if there is one."""


class EvidenceSeries(Answer):
    """The evidence of one attempt of a release."""

    release: str
    attempt: int
    version: str | None
    stable: str | None
    confidence: float | None
    """Of the confidence sequences, such as 0.99."""
    steps: list[StepMark]
    checks: list[CheckSeries]
    verdict: str
    reason: Told
    live: bool
    """Whether it still grows."""


class ReleaseChoice(Answer):
    """A release whose evidence can be asked for."""

    release: str
    attempt: int
    version: str | None
    at: datetime
    outcome: str | None
    """The action that ended it; ``None``: it is live."""


class EvidenceAnswer(Answer):
    """The evidence of a release, and which others there are."""

    series: EvidenceSeries | None
    """``None``: nothing was ever judged."""
    releases: list[ReleaseChoice]
    """Newest first."""
