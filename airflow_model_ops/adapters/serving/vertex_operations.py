"""Long-running operations: begun once, written down before anything waits, polled, and found again after a crash.

DeployModel and UploadModel have no idempotency key. So an intent is written before the call, and the operation's name
after it. An intent without a name means that its writer died, or that the answer was lost; then the operation is looked
for among those of the endpoint or the parent model, begun since the intent, and adopted. Callers hold the fleet lock, so
nobody of us begins one meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from airflow_model_ops.adapters.serving.vertex_book import DOCUMENT, Book, Key, Running
from airflow_model_ops.adapters.serving.vertex_clients import VertexClients
from airflow_model_ops.adapters.serving.vertex_errors import code_name, fault_of
from airflow_model_ops.adapters.serving.vertex_seen import Fault, Kind, OperationSeen
from airflow_model_ops.adapters.serving.vertex_settings import VertexSettings
from airflow_model_ops.core.errors import EndpointNotFound, InvalidState, ModelOpsError, ServerUnreachable
from airflow_model_ops.core.ports import FleetStore
from airflow_model_ops.core.versioning import Version

_KINDS = {
    "CreateEndpointOperationMetadata": Kind.CREATE,
    "UploadModelOperationMetadata": Kind.UPLOAD,
    "DeployModelOperationMetadata": Kind.DEPLOY,
    "UndeployModelOperationMetadata": Kind.UNDEPLOY,
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Times in seconds.

    :param poll: An operation is asked about no more often than this.
    :param arrive: After this an unanswered call that left no trace counts as never taken: the deadline of a call and more.
    :param skew: How far the platform's clock may be behind ours.
    """

    poll: float = 2.0
    arrive: float = 45.0
    skew: float = 60.0


class Operations:
    """The operations of one model and its endpoint.

    :param now: Seconds since the epoch.
    """

    def __init__(
        self,
        *,
        clients: VertexClients,
        settings: VertexSettings,
        store: FleetStore,
        patience: Patience | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._store = store
        self._patience = patience or Patience()
        self._asked: dict[str, float] = {}
        self.now = now

    def book(self) -> Book:
        """Return what is under way, from the fleet's document.

        One that cannot be read counts as lost: a way back must not wait for it, and what it knew is found again, as ids of
        deployments are fixed and no upload begins beside one that it has not heard of.
        """
        try:
            return Book.from_bytes(self._store.read(DOCUMENT))
        except InvalidState as error:
            _log.error("model=%s %s", self._settings.model, error)
            return Book()

    def unheard_upload(self, book: Book) -> str | None:
        """Return the name of an upload that runs and that the book has not heard of: perhaps of a version that is missing.

        Uploads have no id of our choice; so after a lost document, or by a worker that was stopped just before its call, one
        may run that nobody knows.
        """
        return next(
            (
                seen.name
                for seen in self._listed(Kind.UPLOAD)
                if seen.kind is Kind.UPLOAD and not seen.done and seen.name not in book.known
            ),
            None,
        )

    def begin(
        self, book: Book, kind: Kind, version: Version | None, *, generation: int, call: Callable[[], str]
    ) -> Book:
        """Write the intent, make the call, write the operation's name.

        A refusal is remembered, with the time of the next try.

        :param call: Makes the call and returns the operation's name.
        :raises ServerUnreachable: if there was no answer; the intent stays.
        :raises AccessDenied: if we may not; nothing is remembered, so that a grant helps at once.
        """
        book = self._kept(book.begun(kind, version, at=self.now()))
        key = (kind, version.name if version else "")
        try:
            operation = call()
        except ServerUnreachable:
            raise
        except ModelOpsError as error:
            fault = fault_of(error)
            if fault.status == "ALREADY_EXISTS":  # an earlier call was taken: it is looked for as one without an answer
                return book
            if fault.status in ("PERMISSION_DENIED", "UNAUTHENTICATED") or not isinstance(error.__cause__, Exception):
                self._kept(book.ended(key))
                raise
            # As things are now, e.g. another operation runs on the endpoint, or somebody deleted what it is about: the next
            # look tells.
            if fault.status in ("FAILED_PRECONDITION", "NOT_FOUND"):
                fault = replace(fault, status="ABORTED")
            _log.warning("model=%s %s", self._settings.model, error)
            return self._kept(book.failed(key, fault, generation=generation, at=self.now()))
        _log.info("model=%s version=%s %s runs as %s", self._settings.model, key[1], kind.value, operation)
        return self._kept(book.named(key, operation))

    def done(self, book: Book, keys: Iterable[Key]) -> Book:
        """Take out what can be seen to be done."""
        for key in keys:
            book = self._kept(book.ended(key))
        return book

    def poll(self, book: Book, *, generation: int) -> Book:
        """Ask once for each operation that was not asked for lately; take the ended ones out.

        :param generation: Of the plan: a failure counts for it.
        """
        before = book
        lost = book.unanswered
        if lost is not None:
            book = self._adopted(book, lost)
        for entry in tuple(book.running.values()):
            if entry.operation is not None and self._is_due(entry.operation):
                book = self._after(book, entry, self._look(entry.operation), generation=generation)
        return book if book == before else self._kept(book)

    def cancel(self, book: Book, key: Key, *, reason: str) -> Book:
        """Ask to cancel an operation; that this fails is no harm: what it makes is undeployed later."""
        entry = book.running[key]
        if entry.operation is None:
            return book
        _log.info("model=%s cancelling the %s of %s: %s", self._settings.model, entry.kind.value, entry.version, reason)
        try:
            self._clients.ask(
                f"cancelling operation {entry.operation!r}",
                self._client(entry.kind).cancel_operation,
                {"name": entry.operation},
            )
        except ModelOpsError as error:
            _log.warning("model=%s the %s of %s goes on: %s", self._settings.model, entry.kind, entry.version, error)
            return book
        return self._kept(book.cancelling(key))

    def _after(self, book: Book, entry: Running, seen: OperationSeen | None, *, generation: int) -> Book:
        """Return the book after a look at one operation; ``None``: the platform has forgotten it."""
        if seen is None:
            return book.ended(entry.key)
        if not seen.done:
            return book
        for words in seen.partial:
            _log.warning("model=%s %s of %s, in part: %s", self._settings.model, entry.kind.value, entry.version, words)
        if seen.fault is None:
            _log.info("model=%s %s of %s is done", self._settings.model, entry.kind.value, entry.version)
            return book.ended(entry.key, registry_version=seen.registry_version)
        if entry.cancelled and seen.fault.status == "CANCELLED":
            return book.ended(entry.key)
        _log.warning("model=%s %s of %s failed: %s", self._settings.model, entry.kind.value, entry.version, seen.fault)
        return book.failed(entry.key, seen.fault, generation=generation, at=self.now())

    def _adopted(self, book: Book, lost: Running) -> Book:
        """Look for what came of a call whose answer nobody saw."""
        since = lost.begun - self._patience.skew
        candidates = [
            seen
            for seen in self._listed(lost.kind)
            if seen.kind is lost.kind and seen.name not in book.known and (seen.created >= since or not seen.done)
        ]
        if candidates:
            found = min(candidates, key=lambda seen: (seen.done, seen.created))
            _log.warning(
                "model=%s adopting operation %s: the %s of %s was begun by a worker that did not see the answer",
                self._settings.model,
                found.name,
                lost.kind.value,
                lost.version,
            )
            return book.named(lost.key, found.name)
        age = self.now() - lost.begun
        return book.ended(lost.key) if age > self._patience.arrive or age < -self._patience.skew else book

    def _listed(self, kind: Kind) -> Iterable[OperationSeen]:
        of = self._settings.registry_name if kind is Kind.UPLOAD else self._settings.endpoint_name
        request: dict[str, Any] = {"name": of, "page_size": 100}
        while True:
            try:
                page = self._clients.ask(
                    f"listing the operations of {of!r}", self._client(kind).list_operations, request
                )
            except EndpointNotFound:
                return
            yield from (_seen(operation) for operation in page.operations)
            if not page.next_page_token:
                return
            request = {**request, "page_token": page.next_page_token}

    def _look(self, operation: str) -> OperationSeen | None:
        client = self._clients.models if "/models/" in operation else self._clients.endpoints
        try:
            found = self._clients.ask(f"asking for operation {operation!r}", client.get_operation, {"name": operation})
        except EndpointNotFound:
            return None
        return _seen(found)

    def _is_due(self, operation: str) -> bool:
        now = time.monotonic()
        if now - self._asked.get(operation, float("-inf")) < self._patience.poll:
            return False
        self._asked[operation] = now
        return True

    def _client(self, kind: Kind) -> Any:
        return self._clients.models if kind is Kind.UPLOAD else self._clients.endpoints

    def _kept(self, book: Book) -> Book:
        self._store.write(DOCUMENT, book.to_bytes())
        return book


def _seen(operation: Any) -> OperationSeen:
    """Read ``google.longrunning.Operation``, whose metadata and response are packed messages of Vertex AI."""
    from google.cloud.aiplatform_v1 import types

    name = operation.metadata.type_url.rpartition(".")[2]
    kind = _KINDS.get(name)
    created = 0.0
    partial: tuple[str, ...] = ()
    if kind is not None:
        generic = getattr(types, name).deserialize(operation.metadata.value).generic_metadata
        created = generic.create_time.timestamp() if generic.create_time else 0.0
        partial = tuple(f"{code_name(status.code)}: {status.message}" for status in generic.partial_failures)
    fault = Fault(status=code_name(operation.error.code), message=operation.error.message)
    failed = operation.done and operation.HasField("error")
    registry_version = None
    if operation.done and not failed and kind is Kind.UPLOAD:
        registry_version = types.UploadModelResponse.deserialize(operation.response.value).model_version_id or None
    return OperationSeen(
        name=operation.name,
        kind=kind,
        done=operation.done,
        created=created,
        fault=fault if failed else None,
        registry_version=registry_version,
        partial=partial,
    )
