"""Shares counted through a real Prometheus, to the event, while its targets restart, fail and come and go."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource
from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess, ScrapeJob
from airflow_model_ops.core.checks import Arms, Check
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable
from airflow_model_ops.metrics import count_prediction
from tests.adapters.prometheus_rig import Follower, Model, Serving, check, counts, wait_for

pytestmark = pytest.mark.integration

ERRORS = check(kind="error_rate", max=0.05)
LATENCY = check(kind="latency", latency_bound_ms=250)
WRONG = check(kind="wrong_predictions")


@pytest.fixture(scope="module")
def routers() -> Iterator[tuple[Serving, Serving]]:
    """Two replicas of a router; each test gives them a model of its own."""
    started = Serving(), Serving()
    yield started
    for each in started:
        each.stop()


@pytest.fixture(scope="module")
def source(routers: tuple[Serving, Serving]) -> Iterator[PrometheusSource]:
    """One Prometheus for all tests, as its first scrape comes five seconds after its start."""
    jobs = [ScrapeJob(name="serving", targets=tuple(each.address for each in routers))]
    with PrometheusProcess(jobs, scrape_seconds=0.25) as prometheus:
        asked = PrometheusSource(prometheus.url)
        up = check(kind="promql", query="sum(up)", max=2)
        wait_for(lambda: Model(name="any").gather(asked, up), until=lambda found: found.canary.value == 2)
        yield asked


_numbers = itertools.count(1)


@pytest.fixture
def model(routers: tuple[Serving, Serving]) -> Model:
    """A model whose clusters both routers have from the start."""
    made = Model(name=f"digits{next(_numbers)}")
    for router in routers:
        router.refuses = False
        router.restart(*made.clusters)
    return made


@pytest.fixture
def router(routers: tuple[Serving, Serving]) -> Serving:
    return routers[0]


def following(source: PrometheusSource, model: Model, asked: Check) -> Follower:
    follower = Follower(source=source, model=model, check=asked)
    follower.wait_until_it_counts()
    return follower


def test_every_request_of_both_replicas_is_counted_once_and_in_whole_numbers(
    routers: tuple[Serving, Serving], source: PrometheusSource, model: Model
) -> None:
    """The first ones too, whose 5xx series are born with the values they have: ``increase`` alone would see nothing."""
    follower = following(source, model, ERRORS)
    for router in routers:
        router.answer(model.canary.cluster, good=35, failed=10, retried=5)
        router.answer(model.stable.cluster, good=397, failed=3)
        router.answer(model.control.cluster, good=50)
    follower.wait_for_sums(canary=(30, 100), stable=(6, 800), control=(0, 100))
    for _ in range(20):
        routers[1].answer(model.canary.cluster, good=3, failed=1)
        follower.ask()
        time.sleep(0.05)
    follower.wait_for_sums(canary=(50, 180), stable=(6, 800), control=(0, 100))
    newest = follower.seen[-1]
    assert newest.canary.age_seconds is not None
    assert 0 <= newest.canary.age_seconds < 5
    assert newest.begin is not None


def test_what_happened_before_the_present_split_is_not_counted(
    router: Serving, source: PrometheusSource, model: Model
) -> None:
    before = following(source, model, ERRORS)
    router.answer(model.canary.cluster, good=100, failed=500)
    before.wait_for_sums(canary=(500, 600))
    now = following(source, model, ERRORS)
    router.answer(model.canary.cluster, good=70)
    now.wait_for_sums(canary=(0, 70), stable=(0, 0))


def test_a_clock_that_is_off_changes_nothing(router: Serving, source: PrometheusSource, model: Model) -> None:
    """``begin`` is a time of the worker, and the scrapes are dated by Prometheus."""
    hour = 3600.0
    late = PrometheusSource(source._service.url, clock=lambda: time.time() - hour)
    follower = Follower(source=late, model=model, check=ERRORS, begin=time.time() - hour, clock_is_ahead=-hour)
    early = PrometheusSource(source._service.url, clock=lambda: time.time() + hour)
    other = Follower(source=early, model=model, check=ERRORS, begin=time.time() + hour, clock_is_ahead=hour)
    for each in (follower, other):
        each.wait_until_it_counts()
    router.answer(model.canary.cluster, good=10, failed=1)
    follower.wait_for_sums(canary=(1, 11))
    other.wait_for_sums(canary=(1, 11))


def test_slow_answers_are_counted_from_one_histogram_and_no_bound_is_interpolated(
    router: Serving, source: PrometheusSource, model: Model
) -> None:
    follower = following(source, model, LATENCY)
    for cluster, slow in ((model.stable.cluster, 2), (model.canary.cluster, 60)):
        router.answer(cluster, good=slow, ms=400)
        router.answer(cluster, good=100 - slow, ms=20)
    router.answer(model.canary.cluster, failed=7)  # timed out: an error, in no histogram
    follower.wait_for_sums(canary=(60, 100), stable=(2, 100), control=(0, 0))
    between = model.gather(source, check(kind="latency", latency_bound_ms=240))
    assert between.canary.error == (
        "no bucket of the router's histogram ends at 240 ms; set latency_bound_ms to an edge: 50, 100, 250, 500"
    )


def test_wrong_predictions_are_counted_for_the_version_that_answered(
    router: Serving, source: PrometheusSource, model: Model
) -> None:
    count_prediction(model.name, "1", "right", registry=router.registry)
    follower = following(source, model, WRONG)
    for version, outcome, count in (("1", "right", 980), ("1", "wrong", 20), ("2", "right", 60), ("v-2", "wrong", 40)):
        count_prediction(model.name, version, outcome, count=count, registry=router.registry)
    count_prediction(model.name, "2", "error", count=500, registry=router.registry)
    count_prediction("other", "2", "wrong", count=500, registry=router.registry)
    follower.wait_for_sums(canary=(40, 100), stable=(20, 1_000))
    assert follower.seen[-1].control is None, "predictions do not know over which cluster they were asked"


def test_a_router_that_restarts_counts_on_from_zero(
    routers: tuple[Serving, Serving], source: PrometheusSource, model: Model
) -> None:
    follower = following(source, model, ERRORS)
    for router in routers:
        router.answer(model.canary.cluster, good=20, failed=5)
        router.answer(model.stable.cluster, good=500)
    follower.wait_for_sums(canary=(10, 50), stable=(0, 1_000))
    routers[0].restart(*model.clusters)
    follower.wait_for_sums(canary=(10, 50), stable=(0, 1_000))
    routers[0].answer(model.canary.cluster, good=2, failed=1)
    routers[1].answer(model.stable.cluster, good=10)
    follower.wait_for_sums(canary=(11, 53), stable=(0, 1_010))


def test_a_canary_that_is_released_again_starts_at_zero_and_stable_counts_on(
    router: Serving, source: PrometheusSource, model: Model
) -> None:
    first = following(source, model, ERRORS)
    router.answer(model.stable.cluster, good=500)
    router.answer(model.canary.cluster, failed=100)
    first.wait_for_sums(canary=(100, 100), stable=(0, 500))
    router.remove_cluster(model.canary.cluster)
    first.wait_until_all_see_it()
    first.wait_for_sums(canary=(100, 100), stable=(0, 500))
    router.add_cluster(model.canary.cluster)
    again = following(source, model, ERRORS)
    router.answer(model.canary.cluster, good=9, failed=1)
    router.answer(model.stable.cluster, good=50)
    again.wait_for_sums(canary=(1, 10), stable=(0, 50))


def test_scrapes_that_fail_lose_no_event(router: Serving, source: PrometheusSource, model: Model) -> None:
    follower = following(source, model, ERRORS)
    router.answer(model.canary.cluster, good=5)
    follower.wait_for_sums(canary=(0, 5))
    router.refuses = True
    router.answer(model.canary.cluster, good=90, failed=5)
    follower.wait_for_sums(canary=(0, 5))
    router.answer(model.canary.cluster, failed=5)
    router.refuses = False
    follower.wait_for_sums(canary=(10, 105))


def test_asking_rarely_counts_as_much_as_asking_often(router: Serving, source: PrometheusSource, model: Model) -> None:
    often = following(source, model, ERRORS)
    for number in range(30):
        router.answer(model.canary.cluster, good=number, failed=1)
        often.ask()
        time.sleep(0.05)
    often.wait_for_sums(canary=(30, 465))
    once = model.gather(source, ERRORS, begin=often.begin)
    assert counts(once.canary) == (30, 465)
    again = model.gather(source, ERRORS, begin=often.begin, after=once.at)
    assert counts(again.canary) == (0, 0)
    assert again.canary.value is None


def test_a_version_that_nobody_asked_counts_nothing_and_is_no_fault(source: PrometheusSource, model: Model) -> None:
    follower = following(source, model, LATENCY)
    assert counts(follower.seen[-1].canary) == (0, 0)
    unknown = Model(name="nobody").gather(source, ERRORS)
    assert (unknown.canary.samples, unknown.canary.age_seconds, unknown.canary.error) == (None, None, None)


def test_a_target_that_is_gone_makes_its_evidence_old(model: Model) -> None:
    serving = Serving()
    serving.restart(*model.clusters)
    with PrometheusProcess([ScrapeJob(name="serving", targets=(serving.address,))], scrape_seconds=0.2) as prometheus:
        follower = following(PrometheusSource(prometheus.url), model, ERRORS)
        serving.answer(model.canary.cluster, failed=50)
        follower.wait_for_sums(canary=(50, 50))
        serving.stop()
        old = wait_for(follower.ask, until=lambda found: (found.canary.age_seconds or 0) > 2)
        assert follower.sums()["canary"] == (50, 50)
        assert (counts(old.canary), old.at) == ((0, 0), follower.ask().at)
        never_seen = model.gather(PrometheusSource(prometheus.url), ERRORS, begin=time.time(), after=None)
        assert counts(never_seen.canary) == (0, 0)
    gone = follower.ask()
    assert "cannot be reached" in str(gone.canary.error)
    assert gone.at == old.at, "nothing is lost when Prometheus answers again"


def test_the_past_is_counted_in_steps_that_add_up_to_what_was_seen_live(
    router: Serving, source: PrometheusSource, model: Model
) -> None:
    follower = following(source, model, ERRORS)
    start = follower.begin
    for number in range(12):
        router.answer(model.canary.cluster, good=number, failed=1)
        router.answer(model.stable.cluster, good=10)
        if number == 5:  # whatever the scrapes do, the rest is in another step
            follower.wait_for_sums(canary=(6, 21), stable=(0, 60), control=(0, 0))
            half = follower.seen[-1].instant.timestamp()
            wait_for(follower.ask, until=lambda found: found.instant.timestamp() > half + 1)  # noqa: B023 - not kept
    follower.wait_for_sums(canary=(12, 78), stable=(0, 120), control=(0, 0))
    steps = source.history(ERRORS, model=model.name, arms=model.arms, start=start, end=time.time() + 60, step_seconds=1)
    assert len(steps) >= 3
    assert sum(step.canary.bad or 0 for step in steps) == 12
    assert sum(step.canary.samples or 0 for step in steps) == 78
    assert sum(counts(step.stable)[1] or 0 for step in steps) == 120
    ends = [step.at for step in steps]
    assert ends == sorted(ends), "a step without a scrape of its own ends where the one before did"
    assert max(step.canary.samples or 0 for step in steps) < 78
    assert all(0 <= (step.canary.age_seconds or 0) < 5 for step in steps)


def test_the_past_of_a_query_is_measured_at_the_end_of_each_step(source: PrometheusSource, model: Model) -> None:
    now = time.time()
    asked = check(kind="promql", query="time() - $version", selector="up", max=1)
    arms = Arms(canary=model.canary, stable=model.stable)
    steps = source.history(asked, model=model.name, arms=arms, start=now - 2.5, end=now, step_seconds=1)
    ends = [step.instant.timestamp() for step in steps]
    assert ends == pytest.approx([now - 1.5, now - 0.5, now], abs=0.01)
    for step, end in zip(steps, ends, strict=True):
        assert step.canary.value == pytest.approx(end - 2, abs=0.01)
        assert step.stable is not None
        assert step.stable.value == pytest.approx(end - 1, abs=0.01)


def test_a_past_without_prometheus_or_without_steps_is_refused(source: PrometheusSource, model: Model) -> None:
    with pytest.raises(InvalidConfig, match="end after start, with steps of at least 1 s"):
        source.history(ERRORS, model=model.name, arms=model.arms, start=10, end=10, step_seconds=1)
    away = PrometheusSource("http://127.0.0.1:9")
    with pytest.raises(MetricsUnavailable, match="cannot be reached"):
        away.history(ERRORS, model=model.name, arms=model.arms, start=0, end=10, step_seconds=1)
    later = time.time() + 1_000
    assert source.history(ERRORS, model=model.name, arms=model.arms, start=later, end=later + 10, step_seconds=1) == ()
