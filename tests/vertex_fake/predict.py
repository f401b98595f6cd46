"""PredictionService over REST: each request goes to one deployment, chosen at random by the endpoint's split."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from google.cloud import aiplatform_v1 as v1

from tests.vertex_fake import names
from tests.vertex_fake.refusal import HTTP_STATUS, Refused

if TYPE_CHECKING:
    from tests.vertex_fake.state import State


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How a version serves.

    :param error_rate: Share of requests that fail, 0 to 1.
    :param latency_ms: How long its container takes.
    :param error_code: The google.rpc.Code of a failure.
    """

    error_rate: float = 0.0
    latency_ms: float = 0.0
    error_code: str = "INTERNAL"

    def __post_init__(self) -> None:
        if not 0 <= self.error_rate <= 1 or self.latency_ms < 0 or self.error_code not in HTTP_STATUS:
            raise ValueError(f"no behaviour: {self!r}")


class Behaviours:
    """By the deployments' display names; ``*`` for all that have none of their own."""

    def __init__(self) -> None:
        self._all: dict[str, Behaviour] = {}

    def set(self, display_name: str, **changes: Any) -> None:
        self._all[display_name] = replace(self.of(display_name), **changes)

    def of(self, display_name: str) -> Behaviour:
        return self._all.get(display_name) or self._all.get("*") or Behaviour()


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """An answer, and whose it is."""

    endpoint_id: str
    deployed_model_id: str
    model: str
    model_version_id: str
    model_display_name: str
    predictions: list[Any]

    def as_json(self) -> dict[str, Any]:
        return {
            "predictions": self.predictions,
            "deployedModelId": self.deployed_model_id,
            "model": self.model,
            "modelDisplayName": self.model_display_name,
            "modelVersionId": self.model_version_id,
        }


def predict(state: State, endpoint_name: str, body: bytes) -> Prediction:
    """Answer one request and count it.

    :raises Refused: as the service, or as the version's behaviour has it.
    """
    begun = time.perf_counter()
    instances = _instances(body)
    with state.lock:
        state.operations.advance()
        endpoint = state.endpoints.find(endpoint_name)
        deployed = _choose(state, endpoint)
        behaviour = state.behaviours.of(deployed.display_name)
        fails = state.random.random() < behaviour.error_rate
        model_display_name = _model_display_name(state, deployed)
        series = state.metrics.series(endpoint, deployed, model_display_name=model_display_name)
    time.sleep(behaviour.latency_ms / 1000)
    took_ms = (time.perf_counter() - begun) * 1000
    status = HTTP_STATUS[behaviour.error_code] if fails else 200
    state.metrics.count(
        series, status=status, instances=len(instances), model_ms=min(behaviour.latency_ms, took_ms), total_ms=took_ms
    )
    if fails:
        raise Refused(behaviour.error_code, f"The DeployedModel {deployed.id} failed, as its behaviour says.")
    return Prediction(
        endpoint_id=endpoint.name.rsplit("/", 1)[-1],
        deployed_model_id=deployed.id,
        model=deployed.model,
        model_version_id=deployed.model_version_id,
        model_display_name=model_display_name,
        predictions=[deployed.display_name for _ in instances],
    )


def exposition(state: State) -> str:
    """Return the metrics of every deployment, also of those that were never asked."""
    with state.lock:
        state.operations.advance()
        for endpoint in state.endpoints.all:
            for deployed in endpoint.deployed_models:
                state.metrics.series(endpoint, deployed, model_display_name=_model_display_name(state, deployed))
    return state.metrics.exposition()


def _model_display_name(state: State, deployed: v1.DeployedModel) -> str:
    return state.models.version(f"{deployed.model}@{deployed.model_version_id}").display_name


def _choose(state: State, endpoint: v1.Endpoint) -> v1.DeployedModel:
    split = {id_: percent for id_, percent in endpoint.traffic_split.items() if percent}
    if not split:
        raise Refused("FAILED_PRECONDITION", f"Endpoint {endpoint.name} doesn't have traffic_split.")
    chosen = state.random.choices(list(split), weights=list(split.values()))[0]
    found = next((each for each in endpoint.deployed_models if each.id == chosen), None)
    if found is None:
        raise Refused("UNAVAILABLE", f"The DeployedModel {chosen} of {endpoint.name} does not answer.")
    return found


def _instances(body: bytes) -> list[Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError as wrong:
        raise Refused("INVALID_ARGUMENT", f"Invalid JSON payload received. {wrong}") from wrong
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list) or not instances:
        raise Refused("INVALID_ARGUMENT", "instances must be a list of one or more.")
    return instances


def endpoint_of(path: str) -> str | None:
    """Return the endpoint's name of ``/v1/<endpoint>:predict`` or ``:rawPredict``."""
    name, _, verb = path.removeprefix("/v1/").rpartition(":")
    if verb not in {"predict", "rawPredict"} or not path.startswith("/v1/"):
        return None
    return names.resource(name, collection="endpoints").name
