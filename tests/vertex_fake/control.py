"""The hand that steers the service: everything takes and returns what JSON can say, so that other processes have it too.

``duration``, ``release``, ``fail_operation`` and ``partial_failure`` take an operation's kind: CreateEndpoint, DeleteEndpoint,
DeployModel, UndeployModel, UploadModel, DeleteModel, DeleteModelVersion, or ``*`` (durations and releases only).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from google.cloud import aiplatform_v1 as v1
from google.protobuf import json_format

from tests.vertex_fake import monitoring
from tests.vertex_fake.artifacts import in_bucket
from tests.vertex_fake.faults import ANY, Fault
from tests.vertex_fake.methods import BY_NAME
from tests.vertex_fake.models import believe
from tests.vertex_fake.operations import raw
from tests.vertex_fake.refusal import Refused
from tests.vertex_fake.state import State

KINDS = frozenset(
    {
        "CreateEndpoint",
        "DeleteEndpoint",
        "DeployModel",
        "UndeployModel",
        "UploadModel",
        "DeleteModel",
        "DeleteModelVersion",
    }
)
METHODS_WITH_FAULTS = frozenset(BY_NAME) | {"Predict", monitoring.METHOD, ANY}


class Control:
    """Of one service."""

    def __init__(self, state: State) -> None:
        self._state = state

    def duration(self, kind: str = "*", seconds: float | None = None) -> None:
        """Say how long operations take that begin from now on.

        :param seconds: ``None``: until they are released.
        """
        self._state.operations.seconds[_kind(kind)] = math.inf if seconds is None else seconds

    def release(self, kind: str = "*", name: str | None = None) -> int:
        """End the running operations of a kind now, or the one of that name; return how many."""
        with self._state.lock:
            return self._state.operations.release(kind=_kind(kind), name=name)

    def running(self) -> list[str]:
        """Return the names of the operations that run."""
        with self._state.lock:
            self._state.operations.advance()
            return self._state.operations.all_running()

    def fail_operation(
        self, kind: str, code: str = "INTERNAL", message: str = "planned by the test", times: int = 1
    ) -> None:
        """Let the next operations of a kind end with an error, such as RESOURCE_EXHAUSTED for a quota."""
        status = Refused(code, message).status
        self._state.operations.failures.setdefault(_kind(kind), []).extend([status] * times)

    def partial_failure(
        self, kind: str, code: str = "INTERNAL", message: str = "planned by the test", times: int = 1
    ) -> None:
        """Let the next operations of a kind succeed with a failure in their metadata; a deployment then has no replica."""
        status = Refused(code, message).status
        self._state.operations.partial_failures.setdefault(_kind(kind), []).extend([status] * times)

    def refuse(
        self, method: str, code: str = "UNAVAILABLE", message: str = "planned by the test", times: int = 1
    ) -> None:
        """Refuse the next calls of a method before anything is done: 429 is RESOURCE_EXHAUSTED, 504 DEADLINE_EXCEEDED."""
        self._plan(Fault(method=method, code=code, message=message, times=times))

    def lose_answer(self, method: str, times: int = 1) -> None:
        """Do what the next calls ask, and end the connection without an answer."""
        self._plan(Fault(method=method, lose_answer=True, times=times))

    def lose_request(self, method: str, times: int = 1) -> None:
        """End the connection of the next calls without doing anything."""
        self._plan(Fault(method=method, lose_request=True, times=times))

    def hang(self, method: str, seconds: float | None = None, times: int = 1) -> None:
        """Let the next calls wait before anything is done.

        :param seconds: ``None``: until they are let go.
        """
        self._plan(Fault(method=method, hang_seconds=math.inf if seconds is None else seconds, times=times))

    def let_go(self) -> None:
        """Let the calls that wait now go on."""
        self._state.faults.let_go()

    def hanging(self) -> list[str]:
        """Return the methods of the calls that wait now."""
        return list(self._state.faults.hanging)

    def foreign_write(
        self,
        endpoint: str,
        before: str | None = None,
        labels: Mapping[str, str] | None = None,
        traffic_split: Mapping[str, int] | None = None,
        times: int = 1,
    ) -> None:
        """Be another writer of an endpoint, so that its etag changes.

        :param before: The method just before whose next calls it happens, such as ``UpdateEndpoint``; ``None``: now.
        """

        def write() -> None:
            def edit(found: v1.Endpoint) -> None:
                found.labels.update(labels or {"written-by": "another"})
                if traffic_split is not None:
                    found.traffic_split = dict(traffic_split)

            self._state.endpoints.change(endpoint, edit)

        if before is None:
            with self._state.lock:
                write()
        else:
            self._plan(Fault(method=before, before=write, times=times))

    def vanish(self, endpoint: str, deployed_model_id: str, keep_traffic: bool = True) -> None:
        """Let a deployment disappear without anybody having asked; its traffic goes to nobody then, or is unassigned."""
        with self._state.lock:
            found = self._state.endpoints.find(endpoint)
            self._state.endpoints.remove(found, deployed_model_id)
            if not keep_traffic:
                self._state.endpoints.change(endpoint, lambda each: each.traffic_split.pop(deployed_model_id, None))

    def one_change_at_a_time(self, on: bool = True) -> None:
        """Refuse a deployment or undeployment while another operation runs on the endpoint."""
        self._state.endpoints.one_change_at_a_time = on

    def require_bearer(self, token: str | None = ANY) -> None:
        """Require this token of every call; ``*``: any, ``issued``: one of the service account's, ``None``: none."""
        self._state.faults.bearer = token

    def service_account_key(self, rest_url: str) -> dict[str, str]:
        """Return the key file's content of an account that gets its tokens from this service, whose URL is given."""
        return self._state.faults.account.key(token_uri=f"{rest_url}/token")

    def revoke_tokens(self) -> None:
        """Accept no token that the account got so far."""
        self._state.faults.account.revoke()

    def behave(self, display_name: str, **changes: Any) -> None:
        """Set error_rate, latency_ms or error_code of the deployments with a display name; ``*`` for all others."""
        with self._state.lock:
            self._state.behaviours.set(display_name, **changes)

    def prometheus(self, url: str | None) -> None:
        """Say which Prometheus answers for Cloud Monitoring."""
        self._state.prometheus_url = url

    def buckets(self, storage_url: str | None) -> None:
        """Look for the files of an uploaded model in the GCS emulator at a URL; ``None``: believe that they are there."""
        self._state.models.check_artifacts = in_bucket(storage_url) if storage_url else believe

    def forget_faults(self) -> None:
        """Forget every plan; durations, behaviours and the log stay."""
        with self._state.lock:
            self._state.faults.forget()
            self._state.operations.failures.clear()
            self._state.operations.partial_failures.clear()

    def _plan(self, fault: Fault) -> None:
        if fault.method not in METHODS_WITH_FAULTS:
            raise ValueError(f"{fault.method!r} is no method; write one of {sorted(METHODS_WITH_FAULTS)}")
        self._state.faults.plan(fault)

    def log(self, after: int = 0, mutating: bool | None = None, method: str | None = None) -> list[dict[str, Any]]:
        """Return the requests after a number, as `request_log.Asked` has them."""
        return [each.as_json() for each in self._state.log.read(after=after, mutating=mutating, method=method)]

    def endpoint(self, name: str) -> dict[str, Any]:
        """Return an endpoint as it is, past the log and the faults."""
        with self._state.lock:
            self._state.operations.advance()
            return json_format.MessageToDict(raw(self._state.endpoints.find(name)), preserving_proto_field_name=True)

    def responses(self) -> dict[str, dict[str, int]]:
        """Return how many predictions were answered, by deployment's id and class of HTTP status."""
        return self._state.metrics.counts()


COMMANDS = frozenset(name for name in vars(Control) if not name.startswith("_"))


def _kind(kind: str) -> str:
    if kind not in KINDS | {"*"}:
        raise ValueError(f"{kind!r} is no kind of operation; write one of {sorted(KINDS)}")
    return kind
