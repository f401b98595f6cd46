"""The way into a store of ML Metadata: waiting for others within a bound, and errors said in our words."""

from __future__ import annotations

import fcntl
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from airflow_model_ops.adapters.lineage.relay_process import LONGEST_CONNECT_SECONDS, RelayProcess, unreachable
from airflow_model_ops.adapters.lineage.server_words import Refusal, refusal
from airflow_model_ops.adapters.lineage.settings import (
    LedgerKind,
    LedgerSettings,
    behind_socket,
    connection_config,
    load_ml_metadata,
)
from airflow_model_ops.core.errors import LedgerUnavailable, LedgerUnsuitable

T = TypeVar("T")

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 0.5
_LONGEST_PAUSE_AT_THE_LOCK_SECONDS = 0.02
"""Asking for the lock costs nothing; who sleeps long finds it taken again, and while all sleep nobody writes."""
_CONTENTION = (
    "database is locked",
    "concurrent writes aborted",
    "deadlock",
    "could not serialize",
    "lock wait timeout",
    # Several writers make the database, its tables and its types at the same time:
    "duplicate key value",
    "duplicate entry",
    "current transaction is aborted",
    "already exists",
    "concurrently updated",
    "is being accessed by other users",
    "please retry",
)
_OTHER_VERSION = ("schema version", "schema_version", "database version")
_LONGEST_EXCERPT = 300
_CREATABLE = re.compile(r"[a-z_][a-z0-9_]*\Z")
"""Database names that ML Metadata can create: it writes them into SQL without quotes."""


class Refused(RuntimeError):
    """A database server turned us away; ML Metadata only says that it did."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.said)
        self.refusal = refusal


class StoreAccess:
    """Opens a store and insists on each call of it, within a bound.

    :raises LedgerUnsuitable: if ML Metadata is not installed.
    """

    def __init__(self, settings: LedgerSettings) -> None:
        self._settings = settings
        self._ml_metadata = load_ml_metadata()
        self._relay: RelayProcess | None = None
        self.errors = self._ml_metadata.errors
        self.pb2 = self._ml_metadata.proto.metadata_store_pb2

    def open(self, *, create: bool, read_only: bool = False) -> Any:
        """Return ML Metadata's own store.

        :param create: Whether a store that is missing is made.
        :param read_only: Whether a SQLite file is opened for reading only.
        :raises LedgerUnavailable: if it cannot be opened; of a gRPC server, only whether its port is open is seen.
        :raises LedgerUnsuitable: if it is of another version of ML Metadata.
        """
        if self._settings.kind is LedgerKind.GRPC:
            _look_whether_it_listens(self._settings)
        if self._settings.kind in {LedgerKind.POSTGRESQL, LedgerKind.MYSQL}:
            return self.insist("open it", lambda: self._open_on_server(create=create))
        if self._settings.path is not None:
            _prepare_file(self._settings, self._settings.path, create=create)
        config = connection_config(self._settings, create=create, read_only=read_only)
        with self.writing() if create else nullcontext():
            return self.insist("open it", lambda: self._ml_metadata.MetadataStore(config))

    def _open_on_server(self, *, create: bool) -> Any:
        """Open a database; it is made only if it is missing, since that takes more rights, and then it must be wanted."""
        try:
            return self._log_in(create=False)
        except Refused as error:
            if not error.refusal.no_database:
                raise
            shown, name = self._settings.shown, self._settings.database
            if not create:
                raise LedgerUnavailable(
                    f"{shown} does not exist: nothing is recorded yet; run `airflow model-ops record`"
                ) from error
            if not _CREATABLE.match(name):
                raise LedgerUnavailable(
                    f"{shown} does not exist, and ML Metadata cannot create a database named {name!r}; create it, or give a name "
                    "of small letters, digits and '_'"
                ) from error
        return self._log_in(create=True)

    def _log_in(self, *, create: bool) -> Any:
        relay = RelayProcess(self._settings)
        config = behind_socket(
            connection_config(self._settings, create=create), socket=relay.socket, port=relay.PORT_IN_THE_NAME
        )
        try:
            store = self._ml_metadata.MetadataStore(config)
        except RuntimeError as error:
            for heard in relay.report():
                found = refusal(self._settings.kind, heard.opening)
                if found is not None:
                    raise Refused(found) from error
                if heard.fault:
                    raise self._silent(heard.fault) from error
            raise
        self._relay = store.relay = relay  # it ends with its last holder, and the store needs it
        return store

    @contextmanager
    def writing(self) -> Iterator[None]:
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
            self.insist(
                "wait for its writers",
                lambda: fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB),
                longest_pause=_LONGEST_PAUSE_AT_THE_LOCK_SECONDS,
            )
            yield

    def insist(
        self,
        what: str,
        call: Callable[[], T],
        *,
        longest_pause: float = _LONGEST_PAUSE_SECONDS,
        passing: tuple[type[Exception], ...] = (),
    ) -> T:
        """Call until it is not others that are in the way, for ``retry_seconds`` at most.

        :param longest_pause: Between two calls, in seconds.
        :param passing: What else another writer's work may be the cause of.
        """
        deadline = time.monotonic() + self._settings.retry_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return call()
            # A value that cannot be parsed is in ML Metadata's words, too, which then are no text.
            except (self.errors.StatusError, RuntimeError, BlockingIOError, UnicodeDecodeError) as error:
                if not isinstance(error, passing) and not self._may_pass(error):
                    raise self._translated(what, error) from error
                if time.monotonic() + pause > deadline:
                    raise LedgerUnavailable(
                        f"{self._settings.shown}: could not {what} within {self._settings.retry_seconds:g} s, others hold it or "
                        f"it does not answer ({self._safe(_first_line(error))}); try again, the log holds everything meanwhile"
                    ) from error
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (jitter, not a secret)
            pause = min(pause * 1.5, longest_pause)

    def _may_pass(self, error: Exception) -> bool:
        if isinstance(error, Refused):
            return error.refusal.may_pass
        passing = (BlockingIOError, self.errors.AbortedError, self.errors.UnavailableError)
        return isinstance(error, passing) or any(sign in str(error).lower() for sign in _CONTENTION)

    def _translated(self, what: str, error: Exception) -> LedgerUnavailable:
        if isinstance(error, Refused):
            found = error.refusal
            return LedgerUnavailable(
                f"{self._settings.shown}: could not {what} ({self._safe(found.said)}): {found.remedy}"
            )
        fault = next((heard.fault for heard in self._relay.report() if heard.fault), "") if self._relay else ""
        if fault:
            return self._silent(fault)
        if isinstance(error, self.errors.DeadlineExceededError):
            return self._silent(f"no answer within {self._settings.answer_seconds:g} s")
        said = self._safe(_first_line(error))
        if any(sign in said.lower() for sign in _OTHER_VERSION):
            return LedgerUnsuitable(
                f"{self._settings.shown} is of another version of ML Metadata ({said}); upgrade it with that version's tools, "
                "or record into an empty ledger"
            )
        return LedgerUnavailable(
            f"{self._settings.shown}: could not {what} ({said}); check that it is reachable, is a database of ML Metadata, and "
            "may be written by this user"
        )

    def mixed_up(self, wanted: str, found: str) -> LedgerUnsuitable:
        """Return the error for a database that takes one name for another, as MySQL does by its usual collations."""
        return LedgerUnsuitable(
            f"{self._settings.shown} takes the name {wanted!r} for {found!r}: it compares names without regard to case; "
            "record into a database with a binary collation (CREATE DATABASE ... COLLATE utf8mb4_bin)"
        )

    def _silent(self, fault: str) -> LedgerUnavailable:
        return LedgerUnavailable(
            f"{self._settings.shown} does not answer: {fault}; see whether the server hangs, or raise `timeout` in the "
            "connection. The log holds everything meanwhile"
        )

    def _safe(self, said: str) -> str:
        """Return what was said without the password."""
        password = self._settings.password
        return said.replace(password, "***") if password else said


def _look_whether_it_listens(settings: LedgerSettings) -> None:
    """Spare a gRPC client's long tries where nobody listens."""
    try:
        patience = min(settings.answer_seconds, LONGEST_CONNECT_SECONDS)
        socket.create_connection((settings.host, settings.port or 0), timeout=patience).close()
    except OSError as error:
        raise unreachable(settings, str(error)) from error


def _prepare_file(settings: LedgerSettings, path: Path, *, create: bool) -> None:
    if path.is_dir():
        raise LedgerUnavailable(
            f"{settings.shown} is a directory; name a file in it, such as {str(path / 'mlmd.sqlite')!r}"
        )
    if not create:
        if not path.exists():
            raise LedgerUnavailable(
                f"{settings.shown} does not exist: nothing is recorded yet; run `airflow model-ops record`"
            )
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"{settings.shown} cannot be made: directory {str(path.parent)!r} cannot be created ({error.strerror}); create it "
            "or name another path"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:_LONGEST_EXCERPT]
