"""One model on a loopback Vertex AI: plans as the heads would give them, passes until they are done, what was asked of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1 import EndpointServiceClient, ModelServiceClient

from airflow_model_ops.adapters.serving.vertex_clients import VertexAccess, VertexClients
from airflow_model_ops.adapters.serving.vertex_names import deployed_model_id
from airflow_model_ops.adapters.serving.vertex_operations import Patience
from airflow_model_ops.adapters.serving.vertex_settings import VertexSettings
from airflow_model_ops.adapters.serving.vertex_target import VertexAITarget
from airflow_model_ops.core.ports import FleetPlan, FleetStore, ModelPlan, Progress
from airflow_model_ops.core.state import Canary, Golden, ServingState
from airflow_model_ops.core.versioning import Version
from tests.vertex_fake.rig import Address

MODEL = "digits"
ENDPOINT = f"projects/p/locations/europe-west4/endpoints/{MODEL}"
PARENT = f"projects/p/locations/europe-west4/models/{MODEL}"


def version(second: int) -> Version:
    return Version(name=f"v-20230601-1200{second:02}", number=20230601120000 + second)


V1, V2, V3 = version(1), version(2), version(3)


def id_of(which: Version) -> str:
    return deployed_model_id(which)


class MemoryStore:
    """What is kept of a fleet, for one process."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}

    def lock(self, *, wait_seconds: float) -> AbstractContextManager[None]:
        return nullcontext()

    def read(self, name: str) -> bytes | None:
        return self.documents.get(name)

    def write(self, name: str, content: bytes) -> None:
        self.documents[name] = content


class LoopbackClients(VertexClients):
    """The real clients over a transport to this machine; gRPC there is plain text, which Vertex AI itself has not."""

    def __init__(self, address: Address, *, transport: str = "rest", deadline_seconds: float = 60.0) -> None:
        access = VertexAccess(
            location="europe-west4",
            credentials=AnonymousCredentials(),
            api_endpoint=address.rest_url,
            transport="rest",
        )
        super().__init__(access, deadline_seconds=deadline_seconds)
        self._at, self._over = address, transport

    @cached_property
    def endpoints(self) -> EndpointServiceClient:
        return self._at.endpoint_client(self._over)

    @cached_property
    def models(self) -> ModelServiceClient:
        return self._at.model_client(self._over)


def settings_of(**changes: Any) -> VertexSettings:
    known: dict[str, Any] = {
        "project": "p",
        "location": "europe-west4",
        "model": MODEL,
        "registry_model": MODEL,
        "endpoint": MODEL,
        "declared_empty": True,
        "drain_seconds": 1.0,
    }
    return VertexSettings(**{**known, **changes})


def target_at(
    address: Address,
    *,
    store: FleetStore,
    transport: str = "rest",
    patience: Patience | None = None,
    deadline_seconds: float = 60.0,
    now: Any = time.time,
    **settings: Any,
) -> VertexAITarget:
    return VertexAITarget(
        settings=settings_of(**settings),
        clients=LoopbackClients(address, transport=transport, deadline_seconds=deadline_seconds),
        store=store,
        uri_of=lambda which: f"gs://models/{MODEL}/versions/{which.number}",
        root_uri="gs://models",
        patience=patience or Patience(poll=0.0),
        now=now,
    )


def state_of(
    stable: Version | None = None,
    *,
    canary: tuple[Version, int | float] | None = None,
    golden: Version | None = None,
    earlier: tuple[Version, ...] = (),
    left: tuple[Version, ...] = (),
    quarantined: tuple[Version, ...] = (),
    keep_warm: int = 1,
) -> ServingState:
    return ServingState(
        fleet="vertex",
        stable=stable,
        canary=Canary(version=canary[0], percent=canary[1]) if canary else None,
        golden=Golden(version=golden, by_person=True) if golden else None,
        earlier=earlier,
        left=left,
        quarantined=quarantined,
        keep_warm=keep_warm,
    )


def plan_of(
    generation: int,
    state: ServingState,
    *,
    urgent: bool = False,
    spare: tuple[Version, ...] = (),
    settled_seconds: float | None = None,
    model: str = MODEL,
) -> FleetPlan:
    """Return the plan of one model.

    :param settled_seconds: ``None``: the log does not say yet that it is applied.
    """
    plan = ModelPlan(
        model=model,
        generation=generation,
        state=state,
        spare=tuple(sorted({*state.warm, *spare})),
        urgent=urgent,
        applied=settled_seconds is not None,
        settled_seconds=settled_seconds or 0.0,
    )
    return FleetPlan(fleet="vertex", models={model: plan})


def passes(target: Any, plan: FleetPlan, *, within: float = 60.0) -> Iterator[Progress]:
    """Make passes one after the other until the plan is applied or failed."""
    (model,) = plan.models
    deadline = time.monotonic() + within
    while True:
        progress = target.apply(plan, focus=frozenset({model}))
        yield progress
        if model in progress.applied or model in progress.failed:
            return
        assert time.monotonic() < deadline, f"in vain for {within:g} s: {progress.pending}"
        time.sleep(0.01)


def brought(target: Any, plan: FleetPlan, *, within: float = 60.0) -> dict[str, float]:
    """Apply a plan and return the split that is confirmed."""
    (model,) = plan.models
    *_, last = passes(target, plan, within=within)
    assert not last.failed, last.failed
    return dict(last.applied[model])
