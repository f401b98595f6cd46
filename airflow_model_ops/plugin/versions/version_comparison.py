"""Versions side by side, as numbers and over time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_model_ops.core.curves import Curve
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.plugin.datamodels.versions import ComparedMetric, Plot, PlotLine, PlotPoint
from airflow_model_ops.plugin.plain_values import figures, is_figure, told

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.comparison import Comparison
    from airflow_model_ops.adapters.lineage.rows import VersionRow

OFFLINE, VALIDATION, CANARY, STABLE, ABOUT = "offline", "validation", "as canary", "as stable", "about"
"""The groups of compared metrics, in the order in which they are shown."""
_GROUP_OF = {"validation": VALIDATION, "online canary": CANARY, "online stable": STABLE}
"""By the ledger's own word; its offline metrics are the manifests', which are asked themselves."""


def metrics_of(
    versions: Sequence[str], *, manifests: Mapping[str, Manifest], recorded: Comparison | None
) -> list[ComparedMetric]:
    """Return every metric that at least one of the versions has.

    :param manifests: By name; a version without one is told as the ledger has it.
    :param recorded: What the ledger knows; ``None``: it is away.
    """
    rows = {row.version: row for row in recorded.versions} if recorded else {}
    described = {name: manifests.get(name) or rows.get(name) for name in versions}
    return [
        *_offline(versions, described),
        *(_recorded(versions, recorded) if recorded else ()),
        *_about(versions, described),
    ]


def plots_of(curves: Sequence[Curve], *, versions: Sequence[str]) -> list[Plot]:
    """Return curves as plots, their lines in the order of the versions; shares in percent."""
    return [
        Plot(
            metric=curve.metric,
            unit="%" if curve.unit == "share" else curve.unit,
            step_seconds=curve.step_seconds,
            lines=[
                PlotLine(version=name, points=_points(curve.lines[name], times=100 if curve.unit == "share" else 1))
                for name in versions
                if name in curve.lines
            ],
        )
        for curve in curves
    ]


def _points(line: Sequence[tuple[float, float]], *, times: float) -> list[PlotPoint]:
    return [PlotPoint(at=datetime.fromtimestamp(at, tz=UTC), value=value * times) for at, value in line]


def _offline(
    versions: Sequence[str], described: Mapping[str, Manifest | VersionRow | None]
) -> Iterator[ComparedMetric]:
    values = {name: figures(each.metrics) if each else {} for name, each in described.items()}
    for metric in sorted({metric for each in values.values() for metric in each}):
        yield _metric(metric, OFFLINE, {name: values[name].get(metric) for name in versions})


def _recorded(versions: Sequence[str], recorded: Comparison) -> Iterator[ComparedMetric]:
    for row in recorded.rows:
        if row.kind.value not in _GROUP_OF:
            continue
        measured = {name: row.values.get(name) for name in versions}
        values = {name: each.value if each and is_figure(each.value) else None for name, each in measured.items()}
        events = {name: each.n if each else None for name, each in measured.items()}
        yield _metric(row.metric, _GROUP_OF[row.kind.value], values, events=events)


def _about(versions: Sequence[str], described: Mapping[str, Manifest | VersionRow | None]) -> Iterator[ComparedMetric]:
    for field in ("dataset_version", "created", "size", "digest"):
        yield _metric(field, ABOUT, {name: told(getattr(described[name], field, None)) for name in versions})
    given = {name: each.hyperparameters if each else {} for name, each in described.items()}
    for key in sorted({key for each in given.values() for key in each}):
        yield _metric(f"hyperparameters.{key}", ABOUT, {name: told(given[name].get(key)) for name in versions})


def _metric(
    metric: str,
    group: str,
    values: Mapping[str, float | str | None],
    *,
    events: Mapping[str, int | None] | None = None,
) -> ComparedMetric:
    return ComparedMetric(
        metric=metric,
        group=group,
        values=dict(values),
        events=dict(events) if events else dict.fromkeys(values),
        differs=len(set(values.values())) > 1,
    )
