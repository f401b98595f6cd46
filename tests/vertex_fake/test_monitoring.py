"""Cloud Monitoring's PromQL over HTTP, with a real Prometheus behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess, ScrapeJob
from tests.vertex_fake.metrics import PREFIX
from tests.vertex_fake.rig import VertexFake
from tests.vertex_fake.story import ENDPOINT, Caller
from tests.waits import until

API = "/v1/projects/acme/location/global/prometheus/api/v1"
TOKEN = {"Authorization": "Bearer any"}


@pytest.fixture(scope="module")
def served() -> Iterator[VertexFake]:
    """A service that is scraped, after five good predictions."""
    with VertexFake() as fake:
        fake.control.duration("*", 0)
        Caller(fake.address).with_two_versions()
        job = ScrapeJob(name="vertex", targets=(fake.address.rest_url.removeprefix("http://"),))
        # A scrape may take as long as the interval; on a busy machine one that fails makes its series stale.
        with PrometheusProcess([job], scrape_seconds=1.0) as prometheus:
            fake.control.prometheus(prometheus.url)
            url = f"{fake.address.rest_url}/v1/{ENDPOINT}:predict"
            for _ in range(5):
                requests.post(url, json={"instances": [1]}, timeout=10).raise_for_status()
            yield fake


def ask(fake: VertexFake, path: str, verb: str = "get", **fields: Any) -> requests.Response:
    url = f"{fake.address.rest_url}{path}"
    return requests.request(verb, url, timeout=10, **{"headers": TOKEN} | fields)


@pytest.mark.integration
def test_a_query_is_answered_by_get_and_by_post(served: VertexFake) -> None:
    query = f'sum(max_over_time({PREFIX}response_count{{deployed_model_id="11",response_code="2xx"}}[1m]))'

    def value(answered: requests.Response) -> float | None:
        answered.raise_for_status()
        found = answered.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    until(
        lambda: value(ask(served, f"{API}/query", params={"query": query})) == 5,
        what="the predictions are scraped",
        within=60,
    )
    assert value(ask(served, f"{API}/query", "post", data={"query": query})) == 5


@pytest.mark.integration
def test_series_labels_and_ranges_are_there(served: VertexFake) -> None:
    match = {"match[]": f"{PREFIX}prediction_latencies_bucket"}
    until(
        lambda: ask(served, f"{API}/series", params=match).json()["data"], what="the latencies are scraped", within=60
    )
    labels = set(ask(served, f"{API}/labels", params=match).json()["data"])
    assert {"endpoint_id", "location", "deployed_model_id", "latency_type", "le", "resource_container"} <= labels
    values = ask(served, f"{API}/label/deployed_model_id/values", params=match).json()["data"]
    assert values == ["11", "22"]
    span = {"query": f"{PREFIX}response_count", "start": "1", "end": "2", "step": "1"}
    assert ask(served, f"{API}/query_range", params=span).json()["data"]["resultType"] == "matrix"


@pytest.mark.integration
def test_prometheus_own_refusals_come_through(served: VertexFake) -> None:
    answered = ask(served, f"{API}/query", params={"query": "sum("})
    assert (answered.status_code, answered.json()["errorType"]) == (400, "bad_data")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Basic abc"}])
def test_nobody_asks_without_a_bearer_token(fake: VertexFake, headers: dict[str, str]) -> None:
    answered = ask(fake, f"{API}/query", params={"query": "1"}, headers=headers)
    assert (answered.status_code, answered.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


def test_a_chosen_token_is_compared_and_queries_are_refused_as_planned(fake: VertexFake) -> None:
    fake.control.require_bearer("right")
    assert ask(fake, f"{API}/query").status_code == 401
    fake.control.refuse("PromQL", "RESOURCE_EXHAUSTED")
    right = {"Authorization": "Bearer right"}
    assert ask(fake, f"{API}/query", headers=right).status_code == 429
    assert ask(fake, f"{API}/query", headers=right).status_code == 503, "there is no Prometheus"


def test_only_the_global_location_and_the_known_paths_are_there(fake: VertexFake) -> None:
    assert ask(fake, API.replace("global", "europe-west4") + "/query").status_code == 400
    assert ask(fake, f"{API}/targets").status_code == 404
