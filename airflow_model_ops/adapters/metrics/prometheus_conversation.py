"""A few queries to one Prometheus under one deadline. That it is away, late, or answers nonsense is one kind of error.

Source of the protocol: Prometheus's HTTP API, instant and range queries.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from airflow_model_ops.core.errors import MetricsUnavailable

_LONGEST_EXCERPT = 300


class Conversation:
    """A few queries to one Prometheus under one deadline.

    :ivar at: The instant that instant queries are evaluated at, seconds since the epoch; ``None`` is Prometheus's now.
    """

    def __init__(self, *, url: str, timeout_seconds: float, headers: Mapping[str, str], verify: bool | str) -> None:
        import requests
        from prometheus_api_client import PrometheusConnect
        from urllib3.util.retry import Retry

        place = urlsplit(url)
        self.name = f"Prometheus at {place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}"
        self.at: float | None = None
        self._timeout_seconds = timeout_seconds
        self._deadline = time.monotonic() + timeout_seconds
        session = requests.Session()
        session.verify = verify
        # The client's own default is three retries with growing pauses, which no deadline of ours would bound.
        self._client = PrometheusConnect(url, headers=dict(headers), session=session, retry=Retry(total=0, read=False))

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def now(self) -> float:
        """Ask for Prometheus's clock."""
        instant = self.number("time()")
        if instant is None:
            raise MetricsUnavailable(f"{self.name} does not tell its time; check that the URL is a Prometheus's")
        return instant

    def number(self, query: str) -> float | None:
        """Ask for one number; ``None`` when there is no series or no finite number.

        :raises MetricsUnavailable: if there is no answer, or not one number.
        """
        result = self.ask(query)
        if not result:
            return None
        if isinstance(result[0], dict):
            if len(result) > 1:
                raise MetricsUnavailable(
                    f"{excerpt(query)} answers {len(result)} series where one number is needed; "
                    "aggregate it, such as with sum(...)"
                )
            result = result[0].get("value") or []
        try:
            number = float(result[1])
        except (IndexError, TypeError, ValueError) as fault:
            raise MetricsUnavailable(
                f"{excerpt(query)} does not answer a number; write a query that gives one value at an instant"
            ) from fault
        return number if math.isfinite(number) else None

    def numbers(self, query: str, *, instants: Sequence[float]) -> dict[float, float]:
        """Ask for one number at each of some evenly spaced instants; those without a finite number are left out.

        :raises MetricsUnavailable: if there is no answer, or not one number.
        """
        step = instants[1] - instants[0] if len(instants) > 1 else 1.0
        params = {"start": f"{instants[0]:.3f}", "end": f"{instants[-1]:.3f}"}
        start, end = (datetime.fromtimestamp(each, tz=UTC) for each in (instants[0], instants[-1]))

        def send(params: dict[str, object], remaining: float) -> Any:
            return self._client.custom_query_range(query, start, end, f"{step:.3f}", params=params, timeout=remaining)

        result = self._send(query, send, params)
        if len(result) > 1:
            raise MetricsUnavailable(
                f"{excerpt(query)} answers {len(result)} series where one number is needed; "
                "aggregate it, such as with sum(...)"
            )
        try:
            answered = {round(float(at), 3): float(value) for series in result for at, value in series["values"]}
        except (KeyError, TypeError, ValueError) as fault:
            raise MetricsUnavailable(f"{self.name} does not answer numbers to {excerpt(query)} ({fault!r})") from fault
        found = {instant: answered.get(round(instant, 3)) for instant in instants}
        return {instant: number for instant, number in found.items() if number is not None and math.isfinite(number)}

    def ask(self, query: str) -> list[Any]:
        """Send one instant query and give its result as the API has it.

        :raises MetricsUnavailable: if Prometheus is away, late, refuses the query or does not speak its API.
        """

        def send(params: dict[str, object], remaining: float) -> Any:
            return self._client.custom_query(query, params=params, timeout=remaining)

        return self._send(query, send, {} if self.at is None else {"time": f"{self.at:.3f}"})

    def _send(
        self, query: str, send: Callable[[dict[str, object], float], Any], params: Mapping[str, object]
    ) -> list[Any]:
        import requests
        from prometheus_api_client import PrometheusApiClientException

        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise MetricsUnavailable(self._too_late())
        try:
            result = send({**params, "timeout": f"{max(1, int(remaining * 1000))}ms"}, remaining)
        except requests.Timeout as fault:
            raise MetricsUnavailable(self._too_late()) from fault
        except PrometheusApiClientException as fault:
            raise MetricsUnavailable(f"{self.name} refused {excerpt(query)}: {excerpt(fault)}") from fault
        except requests.ConnectionError as fault:
            raise MetricsUnavailable(
                f"{self.name} cannot be reached ({_root_cause(fault)}); "
                "check that it runs and that the connection's host and port are right"
            ) from fault
        except (requests.RequestException, KeyError, TypeError, ValueError) as fault:
            raise MetricsUnavailable(
                f"{self.name} does not answer as Prometheus does ({fault!r}); check the connection's URL and credentials"
            ) from fault
        if not isinstance(result, list):
            raise MetricsUnavailable(f"{self.name} does not answer as Prometheus does; check the connection's URL")
        return result

    def _too_late(self) -> str:
        return f"{self.name} did not answer within {self._timeout_seconds:g} s; check its load, or allow more time"


def _root_cause(fault: BaseException) -> str:
    """Give the last line of a chain such as "max retries exceeded ... connection refused"."""
    reason = getattr(fault.args[0], "reason", fault) if fault.args else fault
    return excerpt(reason).rpartition(": ")[2].strip("'\"")


def excerpt(what: object) -> str:
    """Quote the beginning of what may be long."""
    text = str(what)
    return repr(text if len(text) <= _LONGEST_EXCERPT else text[:_LONGEST_EXCERPT] + "...")
