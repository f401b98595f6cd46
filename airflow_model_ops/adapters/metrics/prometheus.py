"""Prometheus as a metric source: it measures, and leaves judging to core.

That Prometheus is away, refuses a query or answers nonsense is an answer too, and a measurement carries it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from urllib.parse import urlsplit

from airflow_model_ops.adapters.metrics.counting import count
from airflow_model_ops.adapters.metrics.curve_queries import CurveQuery, read_curves, router_queries, step_of
from airflow_model_ops.adapters.metrics.prometheus_conversation import Conversation, Service
from airflow_model_ops.adapters.metrics.prometheus_evidence import (
    PastSteps,
    check_span,
    evidence_of,
    evidence_without_answer,
    iso,
    milliseconds_of,
)
from airflow_model_ops.adapters.metrics.prometheus_queries import (
    AGE,
    TOTAL,
    VALUE,
    counted_arms,
    counters_query,
    edges_query,
    promql_queries,
)
from airflow_model_ops.adapters.metrics.prometheus_samples import Samples, read_samples
from airflow_model_ops.core.checks import Arm, Arms, Check, CheckKind, Evidence, Measurement
from airflow_model_ops.core.curves import Curve
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable

LOOK_BACK_SECONDS = 300.0
"""How far before an interval its processes' earlier scrapes are looked for: the first pair starts there."""
LONGEST_LOOK_SECONDS = 3_600.0
"""What nobody asked for during so long is not counted any more."""
_log = logging.getLogger(__name__)
_CHUNK_SECONDS = 1_800.0
_MOST_INSTANTS = 5_000
"""Below the 11,000 points that Prometheus gives of one series at once."""


class PrometheusSource:
    """Answers checks from one Prometheus server, or anything that speaks its query API.

    Shares are counted from raw samples, so the server must give each scrape once: of a highly available pair ask one, or
    what makes one of them. It holds no connection between calls and may be used from several threads.

    :param url: Where its HTTP API is, e.g. ``http://prometheus:9090``, with the path prefix if it has one.
    :param timeout_seconds: For all queries of one check together. Nothing is retried: the next interval asks again.
    :param headers: Sent with each request, e.g. an ``Authorization``.
    :param verify: Whether to check the server's TLS certificate, or the path of the CA bundle to check it with.
    :param clock: This machine's time, in seconds since the epoch.
    :raises InvalidConfig: if the URL is none, or no time is allowed.
    """

    @classmethod
    def of_service(
        cls,
        service: Service,
        *,
        timeout_seconds: float,
        delay_seconds: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> PrometheusSource:
        """Ask something else that speaks Prometheus's query API, with an authorization of its own.

        :param delay_seconds: How long after its time a sample may become visible: what is asked is asked of that long ago.
        """
        made = cls(service.url, timeout_seconds=timeout_seconds, clock=clock)
        made._service = service
        made._delay_seconds = delay_seconds
        return made

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 5.0,
        headers: Mapping[str, str] | None = None,
        verify: bool | str = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not is_http_url(url):
            raise InvalidConfig(
                f"Prometheus URL {url.rpartition('@')[2]!r} is not usable; write it as http://prometheus:9090"
            )
        if not timeout_seconds > 0:
            raise InvalidConfig(f"Prometheus timeout_seconds is {timeout_seconds!r}; write seconds above 0")
        self._service = Service.prometheus(url.rstrip("/"), headers=headers or {}, verify=verify)
        self._timeout_seconds = timeout_seconds
        self._delay_seconds = 0.0
        self._clock = clock

    def delay_seconds(self, check: Check) -> float:
        """Return how long after its time a sample may become visible: what is asked is asked of that long ago."""
        del check
        return self._delay_seconds

    def gather(self, check: Check, *, model: str, arms: Arms, begin: float, after: str | None) -> Evidence:
        """Count a share since ``after``, or measure a query, for all arms at once. Touches the network and never raises.

        Counted are pairs of scrapes that start no earlier than ``begin`` and end after ``after``. Evidence without an
        answer has the end of the one before it, so that nothing is lost while Prometheus is away for up to an hour.

        :param begin: Seconds since the epoch on this machine's clock; Prometheus's may differ.
        :param after: ``at`` of the evidence before, which is a time of Prometheus's clock.
        """
        if check.kind is CheckKind.PROMQL:
            return self._measure(check, model=model, arms=arms)
        try:
            return self._count(check, model=model, arms=arms, begin=begin, after=after)
        except MetricsUnavailable as fault:
            at = iso(begin * 1000) if after is None else after
            return evidence_without_answer(check, arms, measured=Measurement(error=str(fault)), at=at)

    def history(
        self, check: Check, *, model: str, arms: Arms, start: float, end: float, step_seconds: float
    ) -> tuple[Evidence, ...]:
        """Count or measure the same over the past, in consecutive steps of which the last may be shorter.

        :param start: Seconds since the epoch on Prometheus's clock, as ``end``; what is not past yet is left out.
        :raises MetricsUnavailable: if Prometheus does not answer.
        :raises InvalidConfig: if the span holds no step, or more than a hundred thousand.
        """
        check_span(start=start, end=end, step_seconds=step_seconds)
        with closing(self.conversation()) as conversation:
            end = min(end, conversation.now() - self._delay_seconds)
        if end <= start:
            return ()
        if check.kind is CheckKind.PROMQL:
            return self._measure_past(check, model=model, arms=arms, start=start, end=end, step=step_seconds)
        steps = PastSteps(start=round(start * 1000), end=round(end * 1000), step=round(step_seconds * 1000))
        for earlier, later in pairwise([*_every(_CHUNK_SECONDS, start=start, end=end), end]):
            with closing(self.conversation()) as conversation:
                conversation.at = later
                seconds = math.ceil(later - earlier + LOOK_BACK_SECONDS)
                samples = self._fetch(conversation, check, model=model, arms=arms, seconds=seconds)
            steps.add(samples, begin=round(earlier * 1000), end=round(later * 1000))
        return steps.evidence(check, arms)

    def curves(self, *, model: str, versions: Mapping[str, Arms], seconds: float) -> tuple[Curve, ...]:
        """Return what versions did in the past seconds, to look at: one range query for each metric, of at most 120 points.

        :param versions: By name, each with all its groups.
        :raises MetricsUnavailable: if Prometheus does not answer.
        """
        step = step_of(seconds)
        return self.drawn(
            router_queries(model, versions, step_seconds=step), versions=versions, seconds=seconds, step=step
        )

    def drawn(
        self, queries: Iterable[CurveQuery], *, versions: Mapping[str, Arms], seconds: float, step: float
    ) -> tuple[Curve, ...]:
        """Ask range queries up to the newest instant that can be visible; see :meth:`curves`."""
        found: list[Curve] = []
        with closing(self.conversation()) as conversation:
            end = conversation.now() - self._delay_seconds
            start = end - (max(1, math.ceil(seconds / step)) * step)
            for query in queries:
                answer = conversation.ask_range(query.query, start=start, end=end, step=step)
                found += read_curves(
                    answer, query, versions=tuple(versions), step_seconds=step, source=conversation.name
                )
        return tuple(found)

    def ping(self) -> str:
        """Say that Prometheus answers queries. Touches the network.

        :raises MetricsUnavailable: if it does not, with what to check.
        """
        with closing(self.conversation()) as conversation:
            instant = datetime.fromtimestamp(conversation.now(), tz=UTC)
            return f"{conversation.name} answers queries; its clock says {instant:%Y-%m-%d %H:%M:%S} UTC"

    def _count(self, check: Check, *, model: str, arms: Arms, begin: float, after: str | None) -> Evidence:
        with closing(self.conversation()) as conversation:
            asked_at = self._clock()
            source_now = conversation.now()
            conversation.at = source_now - self._delay_seconds
            now = round(conversation.at * 1000)
            # The answer came after `asked_at`, so this is never earlier than the moment that `begin` means.
            begins = math.ceil((begin + source_now - asked_at) * 1000)
            counted_to = None if after is None else min(now, milliseconds_of(after))
            since = max(begins, begins if counted_to is None else counted_to)
            seconds = math.ceil(min(LONGEST_LOOK_SECONDS, max(0, now - since) / 1000 + LOOK_BACK_SECONDS))
            samples = self._fetch(conversation, check, model=model, arms=arms, seconds=seconds)
        if samples.fault is not None:
            raise MetricsUnavailable(samples.fault)
        counted = count(samples.counters, begin=begins, after=counted_to)
        if counted.left_out:
            _log.warning(
                "check=%s model=%s left_out=%d: pairs of scrapes whose counts cannot be told, such as at a restart",
                check.name,
                model,
                counted.left_out,
            )
        return evidence_of(check, arms, counted, begin=begins, after=counted_to, now=now)

    def _fetch(self, conversation: Conversation, check: Check, *, model: str, arms: Arms, seconds: float) -> Samples:
        asked = counted_arms(check, arms).values()
        answer = conversation.ask(counters_query(check, model=model, arms=asked, seconds=seconds))
        samples = read_samples(answer, source=conversation.name)
        if check.kind is CheckKind.LATENCY and samples.lacks_bucket:
            raise MetricsUnavailable(_missing_edge(conversation, check, asked, seconds=seconds))
        return samples

    def _measure(self, check: Check, *, model: str, arms: Arms) -> Evidence:
        """Ask a user's own query for canary and stable at one instant."""
        with closing(self.conversation()) as conversation:
            canary = self._measure_arm(conversation, check, model=model, arm=arms.canary)
            stable = self._measure_arm(conversation, check, model=model, arm=arms.stable) if arms.stable else None
            at = self._clock() if conversation.at is None else conversation.at
        return Evidence(check=check.name, canary=canary, stable=stable, at=iso(at * 1000))

    def _measure_past(
        self, check: Check, *, model: str, arms: Arms, start: float, end: float, step: float
    ) -> tuple[Evidence, ...]:
        instants = [*_every(step, start=start + step, end=end), end]
        canary = self._measure_arm_past(check, model=model, arm=arms.canary, instants=instants)
        stable = self._measure_arm_past(check, model=model, arm=arms.stable, instants=instants) if arms.stable else None
        return tuple(
            Evidence(
                check=check.name,
                canary=canary[at],
                stable=None if stable is None else stable[at],
                at=iso(at * 1000),
            )
            for at in instants
        )

    def _measure_arm_past(
        self, check: Check, *, model: str, arm: Arm, instants: Sequence[float]
    ) -> dict[float, Measurement]:
        found: dict[float, Measurement] = {}
        queries = promql_queries(check, model=model, arm=arm)
        # The last step may be shorter than the others, so it is asked by itself.
        evenly, last = instants[:-1], instants[-1:]
        chunks = [evenly[begin : begin + _MOST_INSTANTS] for begin in range(0, len(evenly), _MOST_INSTANTS)]
        for chunk in [*chunks, last]:
            with closing(self.conversation()) as conversation:
                answers = {part: conversation.numbers(query, instants=chunk) for part, query in queries.items()}
            for at in chunk:
                value, samples, age = (answers.get(part, {}).get(at) for part in (VALUE, TOTAL, AGE))
                found[at] = Measurement(value=value, samples=samples, age_seconds=age)
        return found

    def conversation(self) -> Conversation:
        """Begin a conversation, which its caller closes."""
        return Conversation(self._service, timeout_seconds=self._timeout_seconds)

    def _measure_arm(self, conversation: Conversation, check: Check, *, model: str, arm: Arm) -> Measurement:
        """Ask for one arm; the first one asked sets the instant for both."""
        queries = promql_queries(check, model=model, arm=arm)
        try:
            if conversation.at is None:
                conversation.at = conversation.now() - self._delay_seconds
            answers = {part: conversation.number(query) for part, query in queries.items()}
        except MetricsUnavailable as fault:
            return Measurement(error=str(fault))
        return Measurement(value=answers[VALUE], samples=answers.get(TOTAL), age_seconds=answers.get(AGE))


def _missing_edge(conversation: Conversation, check: Check, arms: Iterable[Arm], *, seconds: float) -> str:
    series = conversation.ask(edges_query(check, arms=arms, seconds=seconds))
    labels = (each["metric"] for each in series if isinstance(each, dict) and "metric" in each)
    edges = sorted(float(each["le"]) for each in labels if "le" in each)
    known = ", ".join(f"{edge:g}" for edge in edges if math.isfinite(edge)) or "nowhere"
    return f"no bucket of the router's histogram ends at {check.latency_bound_ms:g} ms; set latency_bound_ms to an edge: {known}"


def _every(seconds: float, *, start: float, end: float) -> Iterator[float]:
    number = 0
    while (instant := start + number * seconds) < end:
        yield instant
        number += 1


def is_http_url(url: str) -> bool:
    """Whether a URL names a host that is asked over HTTP."""
    try:
        place = urlsplit(url)
        return place.scheme in {"http", "https"} and bool(place.hostname) and (place.port is None or place.port > 0)
    except ValueError:
        return False
