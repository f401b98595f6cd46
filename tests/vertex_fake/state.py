"""A Vertex AI on loopback: what the real client library says to Google, it can say to this, unmodified.

One state (`state.py`) behind two fronts: REST (`rest.py`) and gRPC (`grpc_front.py`), both built on the SDK's own message types;
the REST paths are read from the SDK's own transcoding tables. `control.py` makes it misbehave, `rig.py` starts it.

What it knows of the real service, and from where:

- Methods, ids, traffic splits, aliases, "0" in a deployment's split: the comments of `endpoint_service.proto`,
  `endpoint.proto`, `model_service.proto`, `model.proto` (google/cloud/aiplatform/v1), as the SDK's docstrings repeat them.
- A stale etag is ABORTED, HTTP 409: AIP-154.
- A split that names a deployment that is not there: 'The following DeployedModel ID(s) [..] do not exist.'
  (GoogleCloudPlatform/java-docs-samples pull request 8475). A prediction without a split: FAILED_PRECONDITION 'Endpoint .. doesn't
  have traffic_split.' (GoogleCloudPlatform/explainable_ai_sdk issue 3).
- Assumed, for nothing public says it: an alias given to a version leaves the version that had it; a deployment is listed when its
  operation ended, not before; a deployment's or undeployment's split takes effect when its operation ends; deployments of different
  versions to one endpoint may run at once (`Control.one_change_at_a_time` refuses them as FAILED_PRECONDITION 'There are other
  operations running on the Endpoint', the words that Vertex AI has for its RagCorpus); the codes of the refusals that are
  not quoted above, such as ALREADY_EXISTS for a deployment's id that is taken and FAILED_PRECONDITION for an undeployment with
  traffic.
- Not here: MutateDeployedModel, UpdateEndpointLongRunning, predictions over gRPC, evaluation, export and copies of models; a
  project's number in place of its id.

What the SDK makes of it, seen in the tests here: over REST every 400 is BadRequest and every 409 Conflict, whatever the status
says, and a connection that ends is requests' own ConnectionError; over gRPC they are the exact classes and ServiceUnavailable.
`wait_operation` over gRPC returns bytes.
"""

from __future__ import annotations

import random
import threading

from tests.vertex_fake.clock import Clock
from tests.vertex_fake.endpoints import Endpoints
from tests.vertex_fake.faults import Faults
from tests.vertex_fake.metrics import Metrics
from tests.vertex_fake.models import Models
from tests.vertex_fake.operations import Operations
from tests.vertex_fake.predict import Behaviours
from tests.vertex_fake.request_log import RequestLog


class State:
    """Everything the service knows. Hold `lock` to look or to change; never while waiting."""

    def __init__(self, *, clock: Clock | None = None, seed: int | None = None) -> None:
        self.lock = threading.RLock()
        self.clock = clock or Clock()
        self.random = random.Random(seed)
        self.operations = Operations(self.clock)
        self.models = Models(self.operations)
        self.endpoints = Endpoints(models=self.models, operations=self.operations)
        self.behaviours = Behaviours()
        self.metrics = Metrics()
        self.faults = Faults()
        self.log = RequestLog()
        self.prometheus_url: str | None = None
        """Where the Cloud Monitoring facade asks."""
