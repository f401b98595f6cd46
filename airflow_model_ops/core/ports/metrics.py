"""Where checks are measured, and where figures over time come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from airflow_model_ops.core.checks import Arms, Check, Evidence
from airflow_model_ops.core.curves import Curve


class MetricSource(Protocol):
    """Where checks are measured. It answers and never judges; that it cannot answer is an answer too."""

    def delay_seconds(self, check: Check) -> float:
        """Return how long after an event it may come to be counted: a window that is to be full ends that long ago."""
        ...

    def gather(self, check: Check, *, model: str, arms: Arms, begin: float, after: str | None) -> Evidence:
        """Count, or measure, all arms over one interval. Touches the network; trouble comes back inside the evidence.

        :param begin: When the present split was applied, seconds since the epoch on the caller's clock: nothing from
            before is counted, nor a pair of scrapes that spans it.
        :param after: ``at`` of this check's evidence before, so that every event is counted once; ``None`` for the first.
        """
        ...

    def history(
        self, check: Check, *, model: str, arms: Arms, start: float, end: float, step_seconds: float
    ) -> tuple[Evidence, ...]:
        """Count the same over the past, in consecutive steps. Touches the network.

        :param start: Seconds since the epoch, as ``end``.
        :raises MetricsUnavailable: if the source does not answer.
        """
        ...

    def ping(self) -> str:
        """Say that it answers. Touches the network.

        :raises MetricsUnavailable: if it does not.
        """
        ...


@runtime_checkable
class CurveSource(Protocol):
    """A metric source that also tells figures over time, to look at. Not every one does."""

    def curves(self, *, model: str, versions: Mapping[str, Arms], seconds: float) -> tuple[Curve, ...]:
        """Return what versions did in the past seconds, a curve for each metric. Touches the network.

        :param versions: By name, each with all its groups.
        :raises MetricsUnavailable: if the source does not answer.
        """
        ...
