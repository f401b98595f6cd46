"""Prometheus as a metric source: it measures, and leaves judging to core.

That Prometheus is away, refuses a query or answers nonsense is an answer too, and a measurement carries it. Source of the
protocol: Prometheus's HTTP API, instant queries.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from airflow_model_ops.adapters.metrics.prometheus_queries import AGE, BAD, BUCKETS, GOOD, TOTAL, VALUE, queries_for
from airflow_model_ops.core.checks import Arm, Check, CheckKind, Evidence, Measurement
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable

_LONGEST_EXCERPT = 300
_EXTRAPOLATION = 0.01
"""Share of the whole (and at least one event) by which a part may exceed it: `increase` extrapolates each by itself."""


class PrometheusSource:
    """Answers checks from one Prometheus server, or anything that speaks its query API.

    It holds no connection between calls and may be used from several threads.

    :param url: Where its HTTP API is, e.g. ``http://prometheus:9090``, with the path prefix if it has one.
    :param timeout_seconds: For all queries of one arm together. Nothing is retried: the next interval asks again.
    :param headers: Sent with each request, e.g. an ``Authorization``.
    :param verify: Whether to check the server's TLS certificate, or the path of the CA bundle to check it with.
    :raises InvalidConfig: if the URL is none, or no time is allowed.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 5.0,
        headers: Mapping[str, str] | None = None,
        verify: bool | str = True,
    ) -> None:
        if not _is_http_url(url):
            raise InvalidConfig(
                f"Prometheus URL {url.rpartition('@')[2]!r} is not usable; write it as http://prometheus:9090"
            )
        if not timeout_seconds > 0:
            raise InvalidConfig(f"Prometheus timeout_seconds is {timeout_seconds!r}; write seconds above 0")
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._headers = dict(headers or {})
        self._verify = verify

    def gather(self, check: Check, *, model: str, canary: Arm, stable: Arm | None) -> Evidence:
        """Measure both arms at one instant of Prometheus's own clock. Touches the network; never raises for its trouble.

        :param stable: ``None`` on a first release.
        """
        try:
            with closing(self._conversation()) as conversation:
                instant = conversation.now()
        except MetricsUnavailable as fault:
            nothing = Measurement(error=str(fault))
            at = datetime.now(UTC).isoformat()
            return Evidence(check=check.name, canary=nothing, stable=None if stable is None else nothing, at=at)
        return Evidence(
            check=check.name,
            canary=self._measure_arm(check, model=model, arm=canary, at=instant),
            stable=None if stable is None else self._measure_arm(check, model=model, arm=stable, at=instant),
            at=datetime.fromtimestamp(instant, tz=UTC).isoformat(),
        )

    def measure(
        self, check: Check, *, model: str, version_number: str, cluster: str, version_name: str | None = None
    ) -> Measurement:
        """Measure one arm now. Touches the network; trouble with Prometheus comes back as ``Measurement(error=...)``.

        :param version_number: The serving number.
        :param cluster: The router's cluster of that version.
        :param version_name: The version's name; predictions counted under it are found as well.
        """
        arm = Arm(version_number=version_number, cluster=cluster, version_name=version_name)
        return self._measure_arm(check, model=model, arm=arm, at=None)

    def _measure_arm(self, check: Check, *, model: str, arm: Arm, at: float | None) -> Measurement:
        queries = queries_for(check, model=model, arm=arm)
        try:
            with closing(self._conversation()) as conversation:
                conversation.at = conversation.now() if at is None else at
                if check.kind is CheckKind.PROMQL:
                    return _measure_query(conversation, queries)
                return _measure_share(check, conversation, queries)
        except MetricsUnavailable as fault:
            return Measurement(error=str(fault))

    def ping(self) -> str:
        """Say that Prometheus answers queries. Touches the network.

        :raises MetricsUnavailable: if it does not, with what to check.
        """
        with closing(self._conversation()) as conversation:
            instant = datetime.fromtimestamp(conversation.now(), tz=UTC)
            return f"{conversation.name} answers queries; its clock says {instant:%Y-%m-%d %H:%M:%S} UTC"

    def _conversation(self) -> _Conversation:
        return _Conversation(
            url=self._url, timeout_seconds=self._timeout_seconds, headers=self._headers, verify=self._verify
        )


class _Conversation:
    """A few queries to one Prometheus under one deadline, all evaluated at the instant ``at``."""

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
                    f"{_excerpt(query)} answers {len(result)} series where one number is needed; "
                    "aggregate it, such as with sum(...)"
                )
            result = result[0].get("value") or []
        try:
            number = float(result[1])
        except (IndexError, TypeError, ValueError) as fault:
            raise MetricsUnavailable(
                f"{_excerpt(query)} does not answer a number; write a query that gives one value at an instant"
            ) from fault
        return number if math.isfinite(number) else None

    def ask(self, query: str) -> list[Any]:
        """Send one instant query and give its result as the API has it.

        :raises MetricsUnavailable: if Prometheus is away, late, refuses the query or does not speak its API.
        """
        import requests
        from prometheus_api_client import PrometheusApiClientException

        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise MetricsUnavailable(self._too_late())
        params: dict[str, object] = {"timeout": f"{max(1, int(remaining * 1000))}ms"}
        if self.at is not None:
            params["time"] = f"{self.at:.3f}"
        try:
            result = self._client.custom_query(query, params=params, timeout=remaining)
        except requests.Timeout as fault:
            raise MetricsUnavailable(self._too_late()) from fault
        except PrometheusApiClientException as fault:
            raise MetricsUnavailable(f"{self.name} refused {_excerpt(query)}: {_excerpt(fault)}") from fault
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


def _measure_query(conversation: _Conversation, queries: Mapping[str, str]) -> Measurement:
    answers = {part: conversation.number(query) for part, query in queries.items()}
    return Measurement(value=answers[VALUE], samples=answers.get(TOTAL), age_seconds=answers.get(AGE))


def _measure_share(check: Check, conversation: _Conversation, queries: Mapping[str, str]) -> Measurement:
    age, total = conversation.number(queries[AGE]), conversation.number(queries[TOTAL])
    if total is None or total <= 0:
        return Measurement(samples=total, age_seconds=age)
    if check.kind is CheckKind.LATENCY:
        bad = total - _requests_within_bound(check, conversation, queries, total=total)
    else:
        bad = _count(conversation, queries[BAD])
    return Measurement(value=min(1.0, max(0.0, bad / total)), samples=total, age_seconds=age)


def _count(conversation: _Conversation, query: str) -> float:
    """Ask for a count that always has an answer: the query itself makes an absent series zero.

    :raises MetricsUnavailable: if it answers nothing, NaN, an infinity or less than zero.
    """
    count = conversation.number(query)
    if count is None or count < 0:
        answer = "nothing, or no finite number," if count is None else f"{count:g}"
        raise MetricsUnavailable(
            f"{conversation.name} answers {answer} to {_excerpt(query)}, which is no count; check what it scrapes"
        )
    return count


def _requests_within_bound(
    check: Check, conversation: _Conversation, queries: Mapping[str, str], *, total: float
) -> float:
    within = conversation.number(queries[GOOD])
    if within is not None:
        if not 0 <= within <= total + max(1.0, _EXTRAPOLATION * total):
            raise MetricsUnavailable(
                f"{conversation.name} counts {within:g} requests within {check.latency_bound_ms:g} ms of {total:g} in all; "
                "check that the router's histogram is scraped once and whole"
            )
        return within
    edges = sorted(
        float(series["metric"]["le"])
        for series in conversation.ask(queries[BUCKETS])
        if isinstance(series, dict) and "le" in series.get("metric", {})
    )
    known = ", ".join(f"{edge:g}" for edge in edges if math.isfinite(edge)) or "nowhere"
    raise MetricsUnavailable(
        f"no bucket of the router's histogram ends at {check.latency_bound_ms:g} ms; set latency_bound_ms to an edge: {known}"
    )


def _is_http_url(url: str) -> bool:
    try:
        place = urlsplit(url)
        return place.scheme in {"http", "https"} and bool(place.hostname) and (place.port is None or place.port > 0)
    except ValueError:
        return False


def _root_cause(fault: BaseException) -> str:
    """Give the last line of a chain such as "max retries exceeded ... connection refused"."""
    reason = getattr(fault.args[0], "reason", fault) if fault.args else fault
    return _excerpt(reason).rpartition(": ")[2].strip("'\"")


def _excerpt(what: object) -> str:
    text = str(what)
    return repr(text if len(text) <= _LONGEST_EXCERPT else text[:_LONGEST_EXCERPT] + "...")
