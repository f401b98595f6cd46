"""A store of ML Metadata as the ledger uses it: few calls, each retried within a bound, each error said in our words.

Only calls that newer ML Metadata keeps and that stay fast with the ledger's size: exact names, external ids, ids and
events of one artifact; no ``filter_query``, no listing of a type or a context. Source of the limits: ML Metadata 1.17.1,
measured.
"""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.protos import Edge, Stored, fill_event, fill_node, fill_type, read_node
from airflow_model_ops.adapters.lineage.records import Node
from airflow_model_ops.adapters.lineage.settings import (
    LedgerKind,
    LedgerSettings,
    connection_config,
    load_ml_metadata,
)
from airflow_model_ops.core.errors import LedgerUnavailable, LedgerUnsuitable

T = TypeVar("T")

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 0.5
_PAGE = 100
"""ML Metadata gives at most this many nodes at once."""
_CONTENTION = ("database is locked", "concurrent writes aborted", "deadlock", "could not serialize")
_LONGEST_EXCERPT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPut:
    """An artifact to create, or to give new properties if it has an id."""

    node: Node
    stored_id: int | None = None


class LedgerStore:
    """An open store. Not for use across a fork or by several threads: open one for each piece of work.

    :param create: Whether a store that is missing is made.
    :raises LedgerUnavailable: if it cannot be opened.
    :raises LedgerUnsuitable: if ML Metadata is not installed, or the store is of another version of it.
    """

    def __init__(self, settings: LedgerSettings, *, create: bool) -> None:
        self._settings = settings
        self._ml_metadata = load_ml_metadata()
        self._errors = self._ml_metadata.errors
        self._pb2 = self._ml_metadata.proto.metadata_store_pb2
        if settings.path is not None and settings.kind is LedgerKind.SQLITE:
            _prepare_file(settings, settings.path, create=create)
        config = connection_config(settings, create=create)
        with self._writing() if create else nullcontext():
            self._store = self._insist("open it", lambda: self._ml_metadata.MetadataStore(config))

    def artifact(self, type_name: str, name: str) -> Stored | None:
        """Return the artifact of a type and name, or ``None``."""
        found = self._insist(f"read {name!r}", lambda: self._store.get_artifact_by_type_and_name(type_name, name))
        return read_node(found) if found is not None else None

    def artifacts_by_external_ids(self, external_ids: Sequence[str]) -> list[Stored]:
        """Return the artifacts there are of these, in no order."""
        return self._by_external_ids(self._store.get_artifacts_by_external_ids, external_ids)

    def executions_by_external_ids(self, external_ids: Sequence[str]) -> list[Stored]:
        """Return the executions there are of these, in no order."""
        return self._by_external_ids(self._store.get_executions_by_external_ids, external_ids)

    def executions_of_artifact(self, artifact_id: int, *, limit: int) -> list[Stored]:
        """Return the newest executions that read or wrote an artifact, newest first."""
        events = self._insist("read events", lambda: self._store.get_events_by_artifact_ids([artifact_id]))
        ids = sorted({int(event.execution_id) for event in events}, reverse=True)[:limit]
        found: list[Stored] = []
        for page in _pages(ids):
            rows = self._insist("read executions", partial(self._store.get_executions_by_id, page))
            found += [read_node(row) for row in rows]
        return sorted(found, key=lambda stored: stored.id, reverse=True)

    def put(
        self,
        *,
        execution: Node,
        artifacts: Sequence[ArtifactPut],
        contexts: Sequence[Node],
        edges: Sequence[Edge],
    ) -> bool:
        """Store all of it in one transaction; return ``False``, with nothing stored, if a name is taken."""
        pb2 = self._pb2
        types = self._types
        sent = {
            "executions": [fill_node(pb2.Execution(), execution, type_id=types["execution", execution.type])],
            "artifacts": [
                fill_node(
                    pb2.Artifact(state=pb2.Artifact.LIVE),
                    item.node,
                    type_id=types["artifact", item.node.type],
                    stored_id=item.stored_id,
                )
                for item in artifacts
            ],
            "contexts": [fill_node(pb2.Context(), node, type_id=types["context", node.type]) for node in contexts],
            "event_edges": [(0, edge.place, fill_event(pb2, edge)) for edge in edges],
        }
        sent["executions"][0].last_known_state = pb2.Execution.COMPLETE

        def put() -> bool:
            try:
                self._store.put_lineage_subgraph(**sent, reuse_context_if_already_exist=True)
            except self._errors.AlreadyExistsError:
                return False
            return True

        with self._writing():
            return self._insist(f"write {execution.name!r}", put)

    def register_types(self) -> int:
        """Register the ledger's own types if they are missing; return how many it has. Other types are left alone."""
        return len(self._types)

    @cached_property
    def _types(self) -> dict[tuple[str, str], int]:
        """Kind and name to the id of each own type; an older or newer package's extra properties are kept."""
        pb2 = self._pb2
        kinds: tuple[tuple[str, tuple[schema.TypeSpec, ...], Any, Any], ...] = (
            ("artifact", schema.ARTIFACTS, pb2.ArtifactType, self._store.put_artifact_type),
            ("execution", schema.EXECUTIONS, pb2.ExecutionType, self._store.put_execution_type),
            ("context", schema.CONTEXTS, pb2.ContextType, self._store.put_context_type),
        )

        def register() -> dict[tuple[str, str], int]:
            return {
                (kind, spec.name): int(put(fill_type(pb2, message(), spec), can_add_fields=True, can_omit_fields=True))
                for kind, specs, message, put in kinds
                for spec in specs
            }

        with self._writing():
            return self._insist("register its types", register)

    def _by_external_ids(self, get: Callable[[Sequence[str]], Sequence[Any]], ids: Sequence[str]) -> list[Stored]:
        def page_of(page: Sequence[str]) -> Sequence[Any]:
            try:
                return get(page)
            except self._errors.NotFoundError:  # none of them is there
                return ()

        found: list[Stored] = []
        for page in _pages(ids):
            found += [read_node(row) for row in self._insist("read by external id", partial(page_of, page))]
        return found

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Let one of our processes at a time write to a SQLite file: SQLite's own waiting costs 200 ms each time."""
        if self._settings.kind is not LedgerKind.SQLITE or self._settings.path is None:
            yield
            return
        lock = self._settings.path.with_name(f"{self._settings.path.name}.lock")
        try:
            opened = lock.open("ab")
        except OSError as error:
            raise LedgerUnavailable(
                f"{self._settings.shown} cannot be written: its lock file cannot be opened ({error.strerror}); give this user "
                "the right to write in its directory"
            ) from error
        with opened:
            self._insist("wait for its writers", lambda: fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB))
            yield

    def _insist(self, what: str, call: Callable[[], T]) -> T:
        """Call until it is not others that are in the way, for ``retry_seconds`` at most."""
        deadline = time.monotonic() + self._settings.retry_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return call()
            except (self._errors.StatusError, RuntimeError, BlockingIOError) as error:
                if not self._may_pass(error):
                    raise self._translated(what, error) from error
                if time.monotonic() + pause > deadline:
                    raise LedgerUnavailable(
                        f"{self._settings.shown}: could not {what} within {self._settings.retry_seconds:g} s, others hold it or "
                        f"it does not answer ({_first_line(error)}); try again, the log holds everything meanwhile"
                    ) from error
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (jitter, not a secret)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    def _may_pass(self, error: Exception) -> bool:
        passing = (BlockingIOError, self._errors.AbortedError, self._errors.UnavailableError)
        return isinstance(error, passing) or any(sign in str(error).lower() for sign in _CONTENTION)

    def _translated(self, what: str, error: Exception) -> LedgerUnavailable:
        said = _first_line(error)
        if self._settings.password:
            said = said.replace(self._settings.password, "***")
        if "schema version" in said.lower() or "schema_version" in said.lower():
            return LedgerUnsuitable(
                f"{self._settings.shown} is of another version of ML Metadata ({said}); upgrade it with that version's tools, "
                "or record into an empty ledger"
            )
        return LedgerUnavailable(
            f"{self._settings.shown}: could not {what} ({said}); check that it is reachable, is a database of ML Metadata, and "
            "may be written by this user"
        )


def _prepare_file(settings: LedgerSettings, path: Path, *, create: bool) -> None:
    if path.is_dir():
        raise LedgerUnavailable(
            f"{settings.shown} is a directory; name a file in it, such as {str(path / 'mlmd.sqlite')!r}"
        )
    if not create:
        if not path.exists():
            raise LedgerUnavailable(
                f"{settings.shown} does not exist: nothing is recorded yet; catch up from the logs first"
            )
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"{settings.shown} cannot be made: directory {str(path.parent)!r} cannot be created ({error.strerror}); create it "
            "or name another path"
        ) from error


def _pages(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _PAGE] for start in range(0, len(items), _PAGE))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:_LONGEST_EXCERPT]
