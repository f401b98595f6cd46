"""Predictions go where the split says, fail as they are told to, and are counted in Vertex AI's names."""

from __future__ import annotations

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from google.cloud import aiplatform_v1 as v1

from tests.vertex_fake.metrics import PREFIX
from tests.vertex_fake.rig import VertexFake
from tests.vertex_fake.story import ENDPOINT, MODEL, Caller

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:]+)\{(?P<labels>.*)\} (?P<value>\S+)")


@pytest.fixture
def caller(fake: VertexFake) -> Caller:
    found = Caller(fake.address)
    found.with_two_versions()
    return found


def predict(fake: VertexFake, *, instances: int = 1, verb: str = "predict") -> requests.Response:
    body = {"instances": [[0.0]] * instances}
    return requests.post(f"{fake.address.rest_url}/v1/{ENDPOINT}:{verb}", json=body, timeout=10)


def metric(fake: VertexFake, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels."""
    text = requests.get(f"{fake.address.rest_url}/metrics", timeout=10).text
    found = 0.0
    for line in text.splitlines():
        sample = _SAMPLE.fullmatch(line)
        if sample and sample["name"] == PREFIX + name:
            told = dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
            found += float(sample["value"]) if labels.items() <= told.items() else 0
    return found


def test_an_answer_says_who_gave_it(fake: VertexFake, caller: Caller) -> None:
    assert predict(fake, instances=2).json() == {
        "predictions": ["v-1", "v-1"],
        "deployedModelId": "11",
        "model": MODEL,
        "modelDisplayName": "digits",
        "modelVersionId": "1",
    }
    raw = predict(fake, verb="rawPredict")
    assert raw.json() == {"predictions": ["v-1"]}
    assert raw.headers["X-Vertex-AI-Endpoint-Id"] == "digits"
    assert raw.headers["X-Vertex-AI-Deployed-Model-Id"] == "11"


def test_the_sdks_prediction_client_reads_it(fake: VertexFake, caller: Caller) -> None:
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials

    options = ClientOptions(api_endpoint=fake.address.rest_url)
    client = v1.PredictionServiceClient(credentials=AnonymousCredentials(), transport="rest", client_options=options)
    answered = client.predict(endpoint=ENDPOINT, instances=[{"number_value": 1.0}])
    assert (answered.deployed_model_id, answered.model_version_id, list(answered.predictions)) == ("11", "1", ["v-1"])


def test_requests_are_divided_as_the_split_says(fake: VertexFake, caller: Caller) -> None:
    caller.shift({"11": 80, "22": 20})
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: predict(fake).json()["deployedModelId"], range(400))
    counted = Counter(answers)
    assert sum(counted.values()) == 400
    assert 40 <= counted["22"] <= 130, "five standard deviations about 80"


def test_without_a_split_nobody_answers(fake: VertexFake, caller: Caller) -> None:
    caller.shift({})
    answered = predict(fake)
    assert (answered.status_code, answered.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
    assert "doesn't have traffic_split" in answered.json()["error"]["message"]
    nowhere = f"{fake.address.rest_url}/v1/{ENDPOINT}x:predict"
    assert requests.post(nowhere, json={"instances": [1]}, timeout=10).status_code == 404
    for body in ("", "[1]", '{"instances": []}', "{"):
        assert requests.post(f"{fake.address.rest_url}/v1/{ENDPOINT}:predict", data=body, timeout=10).status_code == 400


def test_a_version_fails_and_is_slow_as_it_is_told(fake: VertexFake, caller: Caller) -> None:
    fake.control.behave("v-1", error_rate=1)
    assert predict(fake).status_code == 500
    fake.control.behave("v-1", error_code="UNAVAILABLE")
    assert predict(fake).status_code == 503
    fake.control.behave("v-1", error_rate=0, latency_ms=80)
    begun = time.monotonic()
    assert predict(fake).status_code == 200
    assert time.monotonic() - begun >= 0.08
    fake.control.behave("*", error_rate=1)
    caller.shift({"22": 100})
    assert predict(fake).status_code == 500


def test_what_is_answered_is_counted_by_deployment_and_class(fake: VertexFake, caller: Caller) -> None:
    assert metric(fake, "response_count", deployed_model_id="22", response_code="2xx") == 0
    for _ in range(3):
        predict(fake, instances=2)
    fake.control.behave("v-1", error_rate=1)
    predict(fake)
    mine = {
        "deployed_model_id": "11",
        "endpoint_id": "digits",
        "location": "europe-west4",
        "resource_container": "acme",
        "monitored_resource": "aiplatform.googleapis.com/Endpoint",
        "model_display_name": "digits",
    }
    assert metric(fake, "response_count", response_code="2xx", **mine) == 3
    assert metric(fake, "response_count", response_code="5xx", **mine) == 1
    assert metric(fake, "error_count", **mine) == 1
    assert metric(fake, "prediction_count", **mine) == 6
    assert metric(fake, "prediction_latencies_count", latency_type="total", **mine) == 4
    assert metric(fake, "prediction_latencies_bucket", latency_type="total", le="+Inf", **mine) == 4
    assert fake.control.responses()["11"] == {"2xx": 3, "5xx": 1}


def test_latencies_are_in_milliseconds_and_have_three_types(fake: VertexFake, caller: Caller) -> None:
    fake.control.behave("v-1", latency_ms=40)
    predict(fake)
    total, model, overhead = (
        metric(fake, "prediction_latencies_sum", latency_type=kind) for kind in ("total", "model", "overhead")
    )
    assert model == 40
    assert total >= 40
    assert total == pytest.approx(model + overhead)
    assert metric(fake, "prediction_latencies_bucket", latency_type="model", le="32") == 0
    assert metric(fake, "prediction_latencies_bucket", latency_type="model", le="64") == 1


def test_counts_outlive_their_deployment(fake: VertexFake, caller: Caller) -> None:
    predict(fake)
    caller.undeploy("11", {"22": 100})
    assert metric(fake, "response_count", deployed_model_id="11", response_code="2xx") == 1
