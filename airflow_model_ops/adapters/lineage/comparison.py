"""Versions side by side: what each of them showed offline, in its validation and on real traffic; one look-up per version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_model_ops.adapters.lineage.lookups import head_of, version_at
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.rows import VersionRow, version_row
from airflow_model_ops.core.errors import VersionNotFound


class MetricKind(StrEnum):
    """Where a figure comes from."""

    OFFLINE = "offline"
    """Told at the push, e.g. by the training."""
    VALIDATION = "validation"
    """Measured on the validation's examples, before the first traffic."""
    CANARY = "online canary"
    """Measured on real traffic while the version was on trial."""
    STABLE = "online stable"
    """Measured on real traffic while the version was what a canary was compared with."""


_ONLINE = {MetricKind.CANARY: "canary", MetricKind.STABLE: "stable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure of one version.

    :param n: How many events are behind a share, and ``bad`` how many of them were bad.
    :param at: When it was recorded, ISO 8601 in UTC.
    :param release: The release whose verdict it is.
    :param beside: The version it was compared with.
    """

    value: float | None
    n: int | None = None
    bad: int | None = None
    at: str | None = None
    release: str | None = None
    verdict: str | None = None
    beside: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One metric of all versions that have it.

    :param values: By the version's name.
    """

    kind: MetricKind
    metric: str
    values: Mapping[str, Measured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Versions of one model side by side.

    :param versions: As asked for.
    :param recorded: The number of the model's newest entry that the ledger knew when it answered.
    """

    model: str
    versions: tuple[VersionRow, ...]
    rows: tuple[ComparisonRow, ...]
    recorded: int


def compare(store: LedgerStore, model: str, versions: Sequence[str], *, recorded_only: bool = False) -> Comparison:
    """Return versions side by side.

    :param recorded_only: Leave out those that the ledger does not know.
    :raises VersionNotFound: if the ledger does not know one of them, unless ``recorded_only``.
    """
    found = list(_rows(store, model, dict.fromkeys(versions), recorded_only=recorded_only))
    figures = {row.version: dict(_figures(row)) for row in found}
    keys = sorted(
        {key for each in figures.values() for key in each}, key=lambda key: (list(MetricKind).index(key[0]), key[1])
    )
    rows = tuple(
        ComparisonRow(
            kind=key[0], metric=key[1], values={name: each[key] for name, each in figures.items() if key in each}
        )
        for key in keys
    )
    return Comparison(model=model, versions=tuple(found), rows=rows, recorded=head_of(store, model).sequence)


def _rows(store: LedgerStore, model: str, versions: Iterable[str], *, recorded_only: bool) -> Iterator[VersionRow]:
    for name in versions:
        try:
            yield version_row(version_at(store, model, name))
        except VersionNotFound:
            if not recorded_only:
                raise


def _figures(row: VersionRow) -> Iterator[tuple[tuple[MetricKind, str], Measured]]:
    for name, value in row.metrics.items():
        yield (MetricKind.OFFLINE, name), Measured(value=value)
    for name, value in row.validation.get("metrics", {}).items():
        yield (MetricKind.VALIDATION, name), Measured(value=value, at=row.validation.get("at"))
    for check, arms in row.online.items():
        for kind, arm in _ONLINE.items():
            if arm in arms:
                yield (kind, check), _online(arms[arm])


def _online(shown: Mapping[str, Any]) -> Measured:
    n, bad = shown.get("n"), shown.get("bad")
    return Measured(
        value=shown.get("value"),
        n=None if n is None else int(n),
        bad=None if bad is None else int(bad),
        **{key: shown.get(key) for key in ("at", "release", "verdict", "beside")},
    )
