"""Versions: the table, the comparison and the lineage of one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_model_ops.plugin.datamodels.base import Answer, Part, RunLink, Who


class VersionRow(Answer):
    """One version as its manifest describes it, and what it is now."""

    version: str
    serving_number: str
    status: list[str]
    """Of ``stable``, ``canary``, ``golden``, ``held back``, ``earlier``, ``left``, ``quarantined``, ``retired``,
    ``candidate``; several may hold."""
    created: datetime | None
    who: Who | None
    """Who pushed it; ``None``: adopted, or pushed before that was recorded."""
    run: RunLink | None
    dataset_version: str | None
    metrics: dict[str, float]
    """Offline metrics."""
    hyperparameters: dict[str, Any]
    digest: str | None
    size: int | None
    """Bytes."""
    blessed: bool | None
    """What its newest validation said; ``None``: there was none, or the ledger was not read."""
    trouble: str | None
    """Why its manifest cannot be read."""


class VersionList(Answer):
    """A page of a model's versions, newest first."""

    versions: list[VersionRow]
    total: int
    skip: int
    ledger: Part[bool]
    """Whether what only the ledger knows (validation) is in the rows."""


class ComparedMetric(Answer):
    """One metric of all compared versions."""

    metric: str
    group: str
    """``offline``, ``validation``, ``as canary``, ``as stable`` or ``about``."""
    values: dict[str, float | str | None]
    """By version; ``None``: not measured."""
    events: dict[str, int | None]
    """How many events are behind each value, by version, where that is known."""
    differs: bool


class PlotPoint(Answer):
    """A value at a moment."""

    at: datetime
    value: float


class PlotLine(Answer):
    """One version's line."""

    version: str
    points: list[PlotPoint]


class Plot(Answer):
    """One metric of the compared versions over time."""

    metric: str
    unit: str
    """Such as ``ms``, ``1/s`` or ``%``; empty where nobody knows it."""
    step_seconds: float
    """How far apart neighbouring points are; where they are farther apart, nothing was measured between."""
    lines: list[PlotLine]
    """In the order in which the versions were asked for; a version of which nothing was measured has none."""


class Comparison(Answer):
    """Versions side by side: as numbers from the ledger, as plots from the metric source."""

    versions: list[str]
    metrics: Part[list[ComparedMetric]]
    """From the manifests alone (``offline``, ``about``) while the ledger is away; trouble: the repository's, if both are."""
    ledger: Part[bool]
    """Whether what only the ledger knows (validation, real traffic) is among the metrics."""
    plots: Part[list[Plot]]


class GraphNode(Answer):
    """A node of a lineage graph."""

    id: str
    kind: str
    """``version``, ``data``, ``run``, ``trainer``, ``examples``, ``entry`` or ``serving``."""
    label: str
    detail: dict[str, str]
    column: int
    """Left to right: below 0 is upstream, 0 the version itself, above 0 downstream."""
    run: RunLink | None
    model: str | None
    """Of a version: its model, if the caller may see it."""


class GraphEdge(Answer):
    """An arrow of a lineage graph."""

    source: str
    target: str
    label: str


class LineageGraph(Answer):
    """Where a version comes from, and what it led to."""

    version: str
    nodes: list[GraphNode]
    edges: list[GraphEdge]
    truncated: bool
    """Whether there is more downstream than is shown."""
    behind: int
    """How many log entries the ledger does not know yet; 0 also while the log or the ledger cannot be read."""
    ledger: Part[bool]
    """Whether the ledger was read; without it there is only what the manifest and the serving state tell."""
