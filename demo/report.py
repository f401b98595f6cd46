"""The end of the demo on the terminal: the table, what its numbers mean, the expectations, and where to look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from demo.expectations import Expectation
from demo.outcomes import Outcome
from demo.scenario import MODEL, RELEASE_DAG
from demo.stack import Stack
from demo.table import format_table


def report(
    outcomes: Sequence[Outcome], *, account: Mapping[str, Any], expected: Sequence[Expectation], seconds: float
) -> Iterator[str]:
    """Yield the lines of the report.

    :param seconds: What the demo took so far.
    """
    yield ""
    yield format_table([outcome.as_row() for outcome in outcomes])
    yield ""
    yield "recovery: from the first wrong or slow answer of the version (by hand: from the request to Airflow) to the last"
    yield "answer by the version that left, all in the client's own record. The moments (UTC):"
    yield from (f"  {outcome.name}: {outcome.recovery.in_words()}" for outcome in outcomes if outcome.recovery)
    yield ("evidence of harm: end of the first measured interval after which the judge's evidence spoke for harm")
    yield f"sent: {_traffic(account)}"
    yield ""
    held = sum(expectation.held for expectation in expected)
    yield f"expectations: {held} of {len(expected)} held; the demo took {seconds:.0f} s"
    yield from (f"  {expectation}" for expectation in expected)


def where_to_look(stack: Stack) -> Iterator[str]:
    """Yield where a person can look around while everything runs."""
    yield ""
    yield f"Airflow     {stack.airflow.base_url}   user admin   password {stack.airflow.password('admin')}"
    yield f"the page    {stack.airflow.base_url}/plugin/model-ops/models/{stack.settings.model}"
    yield f"release     {stack.airflow.base_url}/dags/{RELEASE_DAG}"
    yield f"Prometheus  {stack.prometheus.url}"
    yield f"predict     {stack.envoy.listener_url}/v1/models/{MODEL}:predict"
    yield f"log         {stack.repository / MODEL / 'log'}"
    yield f"evidence    {stack.repository / MODEL / 'evidence'}"
    yield f"ledger      {stack.ledger}"
    yield f"commands    . {stack.environment}; .venv/bin/airflow model-ops status {MODEL}"


def _traffic(account: Mapping[str, Any]) -> str:
    latency = account["latency_ms"]
    return (
        f"{account['sent']:,} requests from the first answer on, {account['failed']:,} failed; asked "
        f"{account['wanted_rate']:g} per second, achieved {account['rate']:.1f}; half within {latency['p50']:.0f} ms, 99 % "
        f"within {latency['p99']:.0f} ms"
    )
