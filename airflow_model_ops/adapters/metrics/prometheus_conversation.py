"""A few queries to one Prometheus under one deadline. That it is away, late, or answers nonsense is one kind of error.

Source of the protocol: Prometheus's HTTP API, instant and range queries. Others speak it too, such as Google Cloud Monitoring.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from airflow_model_ops.core.errors import MetricsUnavailable

_LONGEST_EXCERPT = 300
_STATUS = re.compile(r"HTTP Status Code (\d{3})")
"""How the client's error for an answer that is not 200 begins."""
_UNAUTHORIZED = 401


class Authorization(Protocol):
    """What lets a request in. It may have to be fetched anew now and then, and from several threads."""

    def headers(self, *, timeout_seconds: float) -> Mapping[str, str]:
        """Return the headers to send now. May touch the network.

        :raises MetricsUnavailable: if there are none to be had.
        """
        ...

    def refused(self) -> None:
        """Take note that the server let nobody in with them (401)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedHeaders:
    """An authorization that never changes, or none at all."""

    values: Mapping[str, str] = field(default_factory=dict)

    def headers(self, *, timeout_seconds: float) -> Mapping[str, str]:
        """Return them; there is nothing to wait for."""
        del timeout_seconds
        return self.values

    def refused(self) -> None:
        """Keep them: there are no others, and the error says what to check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something that speaks Prometheus's API.

    :param url: What ``/api/v1/query`` is appended to.
    :param name: How it is called in an error.
    :param verify: Whether to check its TLS certificate, or the path of the CA bundle to check it with.
    :param remedies: What to do when it answers a query with an HTTP status, as the end of a sentence.
    """

    url: str
    name: str
    authorization: Authorization = field(default_factory=FixedHeaders)
    verify: bool | str = True
    remedies: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def prometheus(cls, url: str, *, headers: Mapping[str, str], verify: bool | str) -> Service:
        """Give a Prometheus at a URL, whose user and password are not told in errors."""
        place = urlsplit(url)
        name = f"Prometheus at {place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}"
        return cls(url=url, name=name, authorization=FixedHeaders(values=dict(headers)), verify=verify)


class Conversation:
    """A few queries to one Prometheus under one deadline.

    :ivar at: The instant that instant queries are evaluated at, seconds since the epoch; ``None`` is Prometheus's now.
    """

    def __init__(self, service: Service, *, timeout_seconds: float) -> None:
        import requests
        from prometheus_api_client import PrometheusConnect
        from urllib3.util.retry import Retry

        self.name = service.name
        self.at: float | None = None
        self._service = service
        self._timeout_seconds = timeout_seconds
        self._deadline = time.monotonic() + timeout_seconds
        session = requests.Session()
        session.verify = service.verify
        # The client's own default is three retries with growing pauses, which no deadline of ours would bound.
        self._client = PrometheusConnect(service.url, session=session, retry=Retry(total=0, read=False))

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
        result = self.ask_range(query, start=instants[0], end=instants[-1], step=step)
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

    def ask_range(self, query: str, *, start: float, end: float, step: float) -> list[Any]:
        """Send one range query and give its series as the API has them; times in seconds since the epoch.

        :raises MetricsUnavailable: as :meth:`ask` does.
        """
        first, last = (datetime.fromtimestamp(each, tz=UTC) for each in (start, end))

        def send(params: dict[str, object], remaining: float) -> Any:
            return self._client.custom_query_range(query, first, last, f"{step:.3f}", params=params, timeout=remaining)

        # The client rounds both ends to whole seconds unless they are given beside them.
        return self._send(query, send, {"start": f"{start:.3f}", "end": f"{end:.3f}"})

    def _send(
        self, query: str, send: Callable[[dict[str, object], float], Any], params: Mapping[str, object]
    ) -> list[Any]:
        import requests
        from prometheus_api_client import PrometheusApiClientException

        self._client.headers = dict(self._service.authorization.headers(timeout_seconds=self._remaining()))
        remaining = self._remaining()
        try:
            result = send({**params, "timeout": f"{max(1, int(remaining * 1000))}ms"}, remaining)
        except requests.Timeout as fault:
            raise MetricsUnavailable(self._too_late()) from fault
        except PrometheusApiClientException as fault:
            raise MetricsUnavailable(self._refusal(query, str(fault))) from fault
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

    def _remaining(self) -> float:
        """Return the seconds that are left, which are more than none."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise MetricsUnavailable(self._too_late())
        return remaining

    def _refusal(self, query: str, answer: str) -> str:
        said = f"{self.name} refused {excerpt(query)}: {excerpt(answer)}"
        found = _STATUS.match(answer)
        status = int(found[1]) if found else None
        if status == _UNAUTHORIZED:
            self._service.authorization.refused()
        remedy = None if status is None else self._service.remedies.get(status)
        return said if remedy is None else f"{said}; {remedy}"

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
