"""The two generated clients of Vertex AI, each call with a deadline and its errors in our words.

The generated (GAPIC) clients, not the high-level SDK, for two reasons. The SDK's ``Endpoint.update`` reads the endpoint again
before it writes, so its etag is always fresh and a decision made on an old look is accepted: no compare-and-set. And
``import google.cloud.aiplatform`` takes 6.4 s and 247 MB against 2.8 s and 150 MB. Both are imported when first needed.

No call is repeated here: every pass looks again and repeats what is still missing, and a repeated UploadModel would
make a second version.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_model_ops.adapters.serving.vertex_errors import of_a_call
from airflow_model_ops.core.errors import InvalidConfig

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import EndpointServiceClient, ModelServiceClient

_T = TypeVar("_T")
_ADDRESS = re.compile(r"(?:http://)?(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?\Z", re.ASCII | re.IGNORECASE)
"""An address as :attr:`VertexAccess.address` has it: the clients add scheme and path themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexAccess:
    """How Vertex AI is reached.

    :param credentials: Of ``google.auth``; a function is called when they are first needed, since that may take a request.
    :param api_endpoint: ``host[:port]`` in place of the location's own, for private networks and proxies. ``http://`` before
        it means plain text, which only ``rest`` can.
    :param transport: ``grpc`` or ``rest``.
    """

    location: str
    credentials: Any = field(repr=False, default=None)
    api_endpoint: str | None = None
    transport: str = "grpc"

    def __post_init__(self) -> None:
        if self.transport not in ("grpc", "rest"):
            raise InvalidConfig(f"api_transport {self.transport!r} is not known; write grpc or rest")
        if self.api_endpoint and not _ADDRESS.match(self.address):
            raise InvalidConfig(
                f"api_endpoint {self.api_endpoint!r} is no address; write host or host:port, such as vertex.example.com:8443"
            )
        if self.address.startswith("http://") and self.transport != "rest":
            raise InvalidConfig(
                f"api_endpoint {self.api_endpoint!r} means plain text, which gRPC clients of Vertex AI cannot; set "
                "api_transport to rest, or leave http:// out"
            )

    @property
    def address(self) -> str:
        """Where the API is."""
        given = (self.api_endpoint or "").strip().rstrip("/").removeprefix("https://")
        return given or f"{self.location}-aiplatform.googleapis.com"


class VertexClients:
    """The clients of one location. Threads may share them.

    :param deadline_seconds: How long one call may take.
    """

    def __init__(self, access: VertexAccess, *, deadline_seconds: float = 20.0) -> None:
        self._access = access
        self._lock = threading.Lock()
        self.deadline_seconds = deadline_seconds

    @property
    def address(self) -> str:
        """Where the API is."""
        return self._access.address

    @functools.cached_property
    def endpoints(self) -> EndpointServiceClient:
        """The client of endpoints."""
        client: EndpointServiceClient = _installed().EndpointServiceClient(**self._options())
        return client

    @functools.cached_property
    def models(self) -> ModelServiceClient:
        """The client of the Model Registry."""
        client: ModelServiceClient = _installed().ModelServiceClient(**self._options())
        return client

    def ask(self, doing: str, call: Callable[..., _T], request: Any) -> _T:
        """Make one call.

        :param doing: What it asks, for errors.
        :raises ServerUnreachable: if there is no answer in time: whether it was taken is unknown.
        :raises ModelOpsError: another of ``vertex_errors`` if it was refused.
        """
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError

        try:
            return call(request=request, timeout=self.deadline_seconds, retry=None)
        except (GoogleAPICallError, RetryError, GoogleAuthError, OSError) as error:
            raise of_a_call(error, doing=doing) from error

    def close(self) -> None:
        """Close the connections that were opened."""
        for name in ("endpoints", "models"):
            client = self.__dict__.pop(name, None)
            if client is not None:
                client.transport.close()

    @functools.cached_property
    def _credentials(self) -> Any:
        from google.auth.exceptions import GoogleAuthError

        if not callable(self._access.credentials):
            return self._access.credentials
        try:
            return self._access.credentials()
        except (GoogleAuthError, OSError) as error:
            raise of_a_call(error, doing="the login with the connection's credentials") from error

    def _options(self) -> dict[str, Any]:
        from google.api_core.client_options import ClientOptions

        with self._lock:
            credentials = self._credentials
        return {
            "credentials": credentials,
            "transport": self._access.transport,
            "client_options": ClientOptions(api_endpoint=self._access.address),
        }


def _installed() -> Any:
    """Return the library of the generated clients.

    :raises InvalidConfig: if it is not installed.
    """
    try:
        from google.cloud import aiplatform_v1
    except ImportError as error:
        raise InvalidConfig(
            f"a model with target.vertex_ai needs google-cloud-aiplatform, which cannot be imported ({error}); install "
            "airflow-model-ops[vertex] where workers and the triggerer run"
        ) from error
    return aiplatform_v1
