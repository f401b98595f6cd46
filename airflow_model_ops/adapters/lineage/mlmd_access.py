"""The way into a store of ML Metadata: waiting for others within a bound, and errors said in our words."""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from airflow_model_ops.adapters.lineage.settings import (
    LedgerKind,
    LedgerSettings,
    connection_config,
    load_ml_metadata,
)
from airflow_model_ops.core.errors import LedgerUnavailable, LedgerUnsuitable

T = TypeVar("T")

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 0.5
_CONTENTION = ("database is locked", "concurrent writes aborted", "deadlock", "could not serialize")
_LONGEST_EXCERPT = 300


class StoreAccess:
    """Opens a store and insists on each call of it, within a bound.

    :raises LedgerUnsuitable: if ML Metadata is not installed.
    """

    def __init__(self, settings: LedgerSettings) -> None:
        self._settings = settings
        self._ml_metadata = load_ml_metadata()
        self.errors = self._ml_metadata.errors
        self.pb2 = self._ml_metadata.proto.metadata_store_pb2

    def open(self, *, create: bool) -> Any:
        """Return ML Metadata's own store.

        :param create: Whether a store that is missing is made.
        :raises LedgerUnavailable: if it cannot be opened.
        :raises LedgerUnsuitable: if it is of another version of ML Metadata.
        """
        settings = self._settings
        if settings.path is not None and settings.kind is LedgerKind.SQLITE:
            _prepare_file(settings, settings.path, create=create)
        config = connection_config(settings, create=create)
        with self.writing() if create else nullcontext():
            return self.insist("open it", lambda: self._ml_metadata.MetadataStore(config))

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
            self.insist("wait for its writers", lambda: fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB))
            yield

    def insist(self, what: str, call: Callable[[], T]) -> T:
        """Call until it is not others that are in the way, for ``retry_seconds`` at most."""
        deadline = time.monotonic() + self._settings.retry_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return call()
            except (self.errors.StatusError, RuntimeError, BlockingIOError) as error:
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
        passing = (BlockingIOError, self.errors.AbortedError, self.errors.UnavailableError)
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


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:_LONGEST_EXCERPT]
