"""Versions side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, HTTPException, Query, status

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.errors import MetricsUnavailable
from airflow_model_ops.core.ports import CurveSource, KnownVersion
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.hooks.arms import arms_at
from airflow_model_ops.plugin.access import Model
from airflow_model_ops.plugin.backends.openings import fleet_of, ledger_of, source_of
from airflow_model_ops.plugin.backends.reading import Unanswered, ask, part
from airflow_model_ops.plugin.datamodels.base import Backend, Part
from airflow_model_ops.plugin.datamodels.versions import ComparedMetric, Comparison, Plot
from airflow_model_ops.plugin.versions.named_versions import VersionName, named, unknown
from airflow_model_ops.plugin.versions.version_comparison import metrics_of, plots_of

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.comparison import Comparison as Recorded

router = APIRouter(tags=["versions"])
_PLOTS_SECONDS = 5.0
"""How long the page waits for the plots: there are several queries behind them."""


@router.get("/models/{model}/comparison")
async def compare_versions(
    model: Model,
    version: Annotated[list[VersionName], Query(min_length=2, max_length=4)],
    hours: Annotated[float, Query(gt=0, le=2160)] = 24,
) -> Comparison:
    """Compare two to four versions: their numbers, and how they did in the past hours."""
    if len(set(version)) < len(version):
        raise HTTPException(
            status.HTTP_422_UNPROCESSABLE_CONTENT, "a version is named twice; name 2 to 4 different ones"
        )
    versions = [named(model, name) for name in version]
    known, (recorded, ledger), plots = await asyncio.gather(
        part(Backend.REPOSITORY, lambda: fleet_of(model).repository.known_versions(model.model, version), of=model),
        _recorded(model, version),
        part(Backend.METRICS, lambda: _plots(model, versions, hours=hours), of=model, seconds=_PLOTS_SECONDS),
    )
    if known.value is not None:
        there = {*known.value, *(row.version for row in recorded.versions)} if recorded else set(known.value)
        for name in version:
            if name not in there:
                raise unknown(model, name)
    return Comparison(versions=version, metrics=_metrics(version, known, recorded), ledger=ledger, plots=plots)


async def _recorded(model: ModelIdentity, versions: Sequence[str]) -> tuple[Recorded | None, Part[bool]]:
    try:
        found = await ask(
            Backend.LEDGER, lambda: ledger_of(model).compare(model.model, versions, recorded_only=True), of=model
        )
    except Unanswered as unanswered:
        return None, Part(trouble=unanswered.trouble)
    return found, Part(value=True)


def _metrics(
    versions: Sequence[str], known: Part[Mapping[str, KnownVersion]], recorded: Recorded | None
) -> Part[list[ComparedMetric]]:
    """Return the numbers of those who answer; there are none only if neither repository nor ledger does."""
    if known.value is None and recorded is None:
        return Part(trouble=known.trouble)
    manifests = {name: each.manifest for name, each in (known.value or {}).items() if each.manifest}
    return Part(value=metrics_of(versions, manifests=manifests, recorded=recorded))


def _plots(model: ModelIdentity, versions: Sequence[Version], *, hours: float) -> list[Plot]:
    source = source_of(model)
    if not isinstance(source, CurveSource):
        raise MetricsUnavailable(
            f"the metric source of model {model.model!r} answers checks, but tells nothing over time"
        )
    arms = {each.name: arms_at(model).guarded(model.model, each) for each in versions}
    curves = source.curves(model=model.model, versions=arms, seconds=hours * 3600)
    return plots_of(curves, versions=[each.name for each in versions])
