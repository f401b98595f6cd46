"""Google Cloud Monitoring as the metric source of a Vertex AI endpoint, through its Prometheus-compatible API.

Source of the protocol: cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.location.prometheus.api.v1/query and
``query_range``: ``/v1/projects/PROJECT/location/global/prometheus/api/v1/...``, ``location`` "has to be global now", an OAuth
token with the scope ``monitoring.read``, ``monitoring`` or ``cloud-platform``. Its own limits are quotas of the project
(cloud.google.com/monitoring/quotas: the console tells them); used up, it answers 429. Metrics and their names:
:mod:`~airflow_model_ops.adapters.metrics.cloud_monitoring_queries`.

Delays (cloud.google.com/monitoring/api/v3/latency-n-retention): a metric is sampled, and "after sampling, data is not visible for
up to" so many seconds. The page of metrics says 60 s and 360 s for the other DELTA metrics of endpoints, and nothing for the ones
counted here, so that is the default.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import pairwise

from airflow_model_ops.adapters.metrics.cloud_monitoring_periods import (
    Periods,
    complete_until,
    counters_of,
    uncounted,
)
from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import EndpointLabels, events_query, read_events
from airflow_model_ops.adapters.metrics.counting import Counter, count
from airflow_model_ops.adapters.metrics.curve_queries import endpoint_queries, step_of
from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource
from airflow_model_ops.adapters.metrics.prometheus_conversation import Authorization, Conversation, Service
from airflow_model_ops.adapters.metrics.prometheus_evidence import (
    PastSteps,
    check_span,
    evidence_of,
    evidence_without_answer,
    iso,
    milliseconds_of,
)
from airflow_model_ops.adapters.metrics.prometheus_queries import counted_arms, groups_of
from airflow_model_ops.adapters.metrics.prometheus_samples import Samples
from airflow_model_ops.core.checks import Arms, Check, CheckKind, Evidence, Measurement
from airflow_model_ops.core.curves import Curve
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable

DEFAULT_ENDPOINT = "https://monitoring.googleapis.com"
SAMPLING_PERIOD_SECONDS = 60.0
DELAY_SECONDS = 360.0
_CHUNK_MS = 1_800_000
_REMEDIES = {
    401: "it does not accept the token; check the credentials of the Google Cloud connection",
    403: "give the connection's account roles/monitoring.viewer on that project, and enable the Cloud Monitoring API there",
    404: "check the project's id and the connection's monitoring_endpoint",
    429: "the project's quota of Cloud Monitoring queries is used up; ask for more, or lengthen the release's interval",
}


class CloudMonitoringSource:
    """Answers the checks of one model that serves on a Vertex AI endpoint.

    Requests are counted once, in whole numbers, over consecutive sampling periods that are complete: what it says is as old as
    the delay, and that is not staleness. Ages count from what could be visible; beyond it, data that does not come is stale.

    An arm's ``cluster`` is its deployed model's id. A check of kind ``promql`` is asked as of the newest instant that could be
    visible. ``wrong_predictions`` reads the ``model_predictions_total`` of Google Cloud Managed Service for Prometheus, which
    this API serves too, and which Vertex AI knows nothing of: without that service there is no such metric, and no data.

    :param project: Id of the project whose metrics are asked, or of the one that its metrics scope belongs to.
    :param endpoint: Where Cloud Monitoring's API is.
    :param delay_seconds: How long after its period a sample may become visible.
    :param sampling_period_seconds: How often the endpoint's metrics are sampled; whole seconds.
    :param timeout_seconds: For all queries of one check together, fetching a token included. Nothing is retried.
    :param clock: This machine's time, in seconds since the epoch.
    :raises InvalidConfig: if the API's address is none, or a duration cannot be used.
    """

    def __init__(
        self,
        *,
        project: str,
        labels: EndpointLabels,
        authorization: Authorization,
        endpoint: str = DEFAULT_ENDPOINT,
        delay_seconds: float = DELAY_SECONDS,
        sampling_period_seconds: float = SAMPLING_PERIOD_SECONDS,
        timeout_seconds: float = 20.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not (sampling_period_seconds >= 1 and sampling_period_seconds == int(sampling_period_seconds)):
            raise InvalidConfig(f"sampling_period is {sampling_period_seconds!r} s; write whole seconds, such as 60s")
        if not 0 <= delay_seconds <= 86_400:
            raise InvalidConfig(f"monitoring_delay is {delay_seconds!r} s; write a duration up to a day, such as 6m")
        service = Service(
            url=f"{endpoint.rstrip('/')}/v1/projects/{project}/location/global/prometheus",
            name=f"Cloud Monitoring of project {project!r}",
            authorization=authorization,
            remedies=_REMEDIES,
        )
        self._labels = labels
        self._delay = round(delay_seconds * 1000)
        self._period = int(sampling_period_seconds) * 1000
        self._clock = clock
        self._delayed = PrometheusSource.of_service(
            service, timeout_seconds=timeout_seconds, delay_seconds=delay_seconds, clock=clock
        )
        self._prompt = PrometheusSource.of_service(service, timeout_seconds=timeout_seconds, clock=clock)

    def delay_seconds(self, check: Check) -> float:
        """Return the delay, and the sampling period that an instant may lie in: the newest complete one may be as much older."""
        if (source := self._asked_as_it_is(check)) is not None:
            return source.delay_seconds(check)
        return (self._delay + self._period) / 1000

    def gather(self, check: Check, *, model: str, arms: Arms, begin: float, after: str | None) -> Evidence:
        """Count a share since ``after``, or measure a query, for all arms at once. Touches the network and never raises.

        Counted are complete sampling periods that start no earlier than ``begin`` and end after ``after``. Without a new one
        there is evidence without counts that ends where the one before did.

        :param begin: Seconds since the epoch on this machine's clock; Google's may differ.
        :param after: ``at`` of the evidence before, which is a time of Google's clock.
        """
        if (source := self._asked_as_it_is(check)) is not None:
            return source.gather(check, model=model, arms=arms, begin=begin, after=after)
        try:
            return self._count(check, arms=arms, begin=begin, after=after)
        except MetricsUnavailable as fault:
            at = iso(begin * 1000) if after is None else after
            return evidence_without_answer(check, arms, measured=Measurement(error=str(fault)), at=at)

    def history(
        self, check: Check, *, model: str, arms: Arms, start: float, end: float, step_seconds: float
    ) -> tuple[Evidence, ...]:
        """Count or measure the same over the past, in consecutive steps; what is not complete yet is left out.

        A sampling period belongs to the step it ends in, so steps that are no multiple of it differ in how many they have.

        :param start: Seconds since the epoch on Google's clock, as ``end``.
        :raises MetricsUnavailable: if Cloud Monitoring does not answer.
        :raises InvalidConfig: if the span holds no step, or more than a hundred thousand.
        """
        if (source := self._asked_as_it_is(check)) is not None:
            return source.history(check, model=model, arms=arms, start=start, end=end, step_seconds=step_seconds)
        check_span(start=start, end=end, step_seconds=step_seconds)
        with closing(self._prompt.conversation()) as conversation:
            complete = self._complete(round(conversation.now() * 1000))
        first, last = round(start * 1000), min(round(end * 1000), complete)
        if last <= first:
            return ()
        steps = PastSteps(start=first, end=last, step=round(step_seconds * 1000))
        for earlier, later in pairwise([*range(first, last, _CHUNK_MS), last]):
            periods = Periods(
                anchor=earlier // self._period * self._period,
                end=later // self._period * self._period,
                length=self._period,
            )
            with closing(self._prompt.conversation()) as conversation:
                counters = self._fetch(conversation, check, arms=arms, periods=periods)
            steps.add(Samples(counters=counters), begin=earlier, end=later)
        return steps.evidence(check, arms)

    def curves(self, *, model: str, versions: Mapping[str, Arms], seconds: float) -> tuple[Curve, ...]:
        """Return what versions did in the past seconds, up to the delay, to look at: one range query for each metric.

        :param versions: By name.
        :raises MetricsUnavailable: if Cloud Monitoring does not answer.
        """
        step = max(step_of(seconds), self._period / 1000)
        queries = endpoint_queries(model, versions, endpoint=self._labels, step_seconds=step)
        return self._delayed.drawn(queries, versions=versions, seconds=seconds, step=step)

    def ping(self) -> str:
        """Say that Cloud Monitoring answers queries. Touches the network.

        :raises MetricsUnavailable: if it does not, with what to check.
        """
        return self._prompt.ping()

    def _asked_as_it_is(self, check: Check) -> PrometheusSource | None:
        """Give what answers a check in Prometheus's own way; ``None`` if it is about the endpoint's metrics."""
        return {CheckKind.PROMQL: self._delayed, CheckKind.WRONG_PREDICTIONS: self._prompt}.get(check.kind)

    def _count(self, check: Check, *, arms: Arms, begin: float, after: str | None) -> Evidence:
        with closing(self._prompt.conversation()) as conversation:
            asked_at = self._clock()
            source_now = conversation.now()
            now = round(source_now * 1000)
            # The answer came after `asked_at`, so this is never earlier than the moment that `begin` means.
            begins = math.ceil((begin + source_now - asked_at) * 1000)
            counted_to = None if after is None else min(now, milliseconds_of(after))
            complete = self._complete(now)
            periods = uncounted(begin=begins, after=counted_to, complete=complete, length=self._period)
            counters = self._fetch(conversation, check, arms=arms, periods=periods)
        counted = count(counters, begin=begins, after=counted_to)
        if counted.at is None:
            return self._nothing(check, arms, periods, begin=begins, after=counted_to)
        return evidence_of(check, arms, counted, begin=begins, after=counted_to, now=max(complete, counted.at))

    def _nothing(self, check: Check, arms: Arms, periods: Periods, *, begin: int, after: int | None) -> Evidence:
        """Say that nothing was sampled since the begin: before a period could be complete, that is no fault."""
        if periods.none:
            measured = Measurement(samples=0.0, bad=0.0, age_seconds=0.0)
        else:
            since = None if after is None else max(after, periods.anchor)
            measured = Measurement(age_seconds=None if since is None else max(0, periods.end - since) / 1000)
        return evidence_without_answer(check, arms, measured=measured, at=iso(begin if after is None else after))

    def _fetch(self, conversation: Conversation, check: Check, *, arms: Arms, periods: Periods) -> tuple[Counter, ...]:
        if periods.none:
            return ()
        asked = counted_arms(check, arms).values()
        query = events_query(check, endpoint=self._labels, arms=asked, period_seconds=periods.length / 1000)
        answer = conversation.ask_range(
            query,
            start=(periods.anchor + periods.length) / 1000,
            end=periods.end / 1000,
            step=periods.length / 1000,
        )
        events = read_events(answer, check, source=conversation.name)
        return counters_of(events, periods, groups=(group for arm in asked for group in groups_of(check, arm)))

    def _complete(self, now: int) -> int:
        return complete_until(now, delay=self._delay, length=self._period)
