"""Whatever is asked of an endpoint in whatever order, its split is whole, and a refusal changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from google.cloud import aiplatform_v1 as v1
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.vertex_fake.clock import Clock
from tests.vertex_fake.operations import raw
from tests.vertex_fake.refusal import Refused
from tests.vertex_fake.state import State
from tests.vertex_fake.story import ENDPOINT, MACHINE, MODEL, PARENT

IDS = st.sampled_from(["11", "22", "33"])
PERCENTS = st.sampled_from([0, 10, 50, 90, 100])
SPLITS = st.dictionaries(IDS, PERCENTS, max_size=3) | IDS.map(lambda id_: {id_: 100})


class HeldClock(Clock):
    """Time goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


class Endpoint(RuleBasedStateMachine):
    """One endpoint, one model with one version, and operations that take from none to three seconds."""

    @initialize()
    def begin(self) -> None:
        self.clock = HeldClock()
        self.state = State(clock=self.clock)
        self.state.operations.seconds["*"] = 0
        self.state.endpoints.create_endpoint(
            v1.CreateEndpointRequest(parent=PARENT, endpoint_id="digits", endpoint=v1.Endpoint(display_name="d"))
        )
        model = v1.Model(display_name="d", container_spec=v1.ModelContainerSpec(image_uri="i"), version_aliases=["v-1"])
        self.state.models.upload_model(v1.UploadModelRequest(parent=PARENT, model_id="digits", model=model))
        self.seen = {self.endpoint.etag: self.content}

    @property
    def endpoint(self) -> v1.Endpoint:
        return self.state.endpoints.find(ENDPOINT)

    @property
    def content(self) -> tuple[Any, ...]:
        return tuple(each.id for each in self.endpoint.deployed_models), dict(self.endpoint.traffic_split)

    def ask(self, method: str, request: Any) -> None:
        before = raw(self.endpoint).SerializeToString(deterministic=True)
        try:
            getattr(self.state.endpoints, method)(request)
        except Refused:
            assert raw(self.endpoint).SerializeToString(deterministic=True) == before

    @rule(id_=IDS, split=SPLITS, seconds=st.integers(0, 3), fails=st.booleans())
    def deploy(self, id_: str, split: dict[str, int], seconds: int, fails: bool) -> None:
        self.state.operations.seconds["DeployModel"] = seconds
        self.state.operations.failures["DeployModel"] = [Refused("INTERNAL", "no").status] if fails else []
        deployed = v1.DeployedModel(model=f"{MODEL}@v-1", id=id_, dedicated_resources=MACHINE)
        renamed = {"0" if each == id_ else each: percent for each, percent in split.items()}
        self.ask(
            "deploy_model", v1.DeployModelRequest(endpoint=ENDPOINT, deployed_model=deployed, traffic_split=renamed)
        )

    @rule(id_=IDS, split=SPLITS, seconds=st.integers(0, 3))
    def undeploy(self, id_: str, split: dict[str, int], seconds: int) -> None:
        self.state.operations.seconds["UndeployModel"] = seconds
        self.ask(
            "undeploy_model", v1.UndeployModelRequest(endpoint=ENDPOINT, deployed_model_id=id_, traffic_split=split)
        )

    @rule(split=SPLITS, stale=st.booleans())
    def shift(self, split: dict[str, int], stale: bool) -> None:
        endpoint = v1.Endpoint(name=ENDPOINT, traffic_split=split, etag="old" if stale else self.endpoint.etag)
        self.ask(
            "update_endpoint", v1.UpdateEndpointRequest(endpoint=endpoint, update_mask={"paths": ["traffic_split"]})
        )

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.clock.seconds += seconds
        self.state.operations.advance()

    @invariant()
    def the_split_is_empty_or_whole_and_over_what_is_deployed(self) -> None:
        ids, split = self.content
        assert set(split) <= set(ids)
        assert sum(split.values()) in ({0, 100} if not split else {100})
        assert len(set(ids)) == len(ids)

    @invariant()
    def an_etag_stands_for_one_content(self) -> None:
        assert self.seen.setdefault(self.endpoint.etag, self.content) == self.content

    @invariant()
    def the_model_knows_where_it_is_deployed(self) -> None:
        version = self.state.models.version(f"{MODEL}@1")
        assert [each.deployed_model_id for each in version.deployed_models] == list(self.content[0])


TestEndpoint = Endpoint.TestCase
TestEndpoint.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
