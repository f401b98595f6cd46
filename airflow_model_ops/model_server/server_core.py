"""What a server does with a new model list, and how a request finds its version.

Source: TF Serving, ``model_servers/server_core.cc``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

from airflow_model_ops.model_server.lifecycle import Closable, Lifecycle, Loaded
from airflow_model_ops.model_server.model_list import ModelEntry, check_list, check_platform_kept, check_platforms
from airflow_model_ops.model_server.path_source import PathSource
from airflow_model_ops.model_server.state_board import State, StateBoard, VersionState
from airflow_model_ops.model_server.status import Code, StatusError

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Closable)

_LOCK_CHECK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Which version a request asks for: a number, a label, or neither for the latest.

    :param version: Serving number.
    """

    name: str
    version: int | None = None
    label: str | None = None


class ServerCore(Generic[S]):
    """Model list, labels and versions of one server.

    :param lifecycle: Loads and unloads.
    :param board: The states that ``lifecycle`` publishes.
    :param source: Scans base paths for ``lifecycle``.
    :param allow_labels_for_unavailable: Accept a label for a version that is not AVAILABLE, unless the label is
        bound to another version now.
    """

    def __init__(
        self,
        *,
        lifecycle: Lifecycle[S],
        board: StateBoard,
        source: PathSource,
        allow_labels_for_unavailable: bool = False,
    ) -> None:
        self._lifecycle = lifecycle
        self._board = board
        self._source = source
        self._allow_labels_for_unavailable = allow_labels_for_unavailable
        self._config_lock = threading.Lock()
        self._closed = threading.Event()
        self._entries: tuple[ModelEntry, ...] = ()
        self._labels: Mapping[str, Mapping[str, int]] | None = None
        #: Set once there is a model list to poll for.
        self.configured = threading.Event()

    def reload(self, entries: Sequence[ModelEntry]) -> None:
        """Replace the model list and wait for models that are new by name.

        It is not a transaction: the list is remembered before its labels are checked, and the labels are in force
        before its platforms are. It takes effect at the next poll. A new model whose base path never comes holds
        this call, and with it every later one, until the server is restarted.

        :raises StatusError: INVALID_ARGUMENT for the list, FAILED_PRECONDITION for a label, UNKNOWN for a new model
            that could not be loaded.
        """
        self._lock_config()
        try:
            check_list(entries)
            check_platform_kept(old=self._entries, new=entries)
            self._entries = tuple(entries)
            self._labels = self._bind_labels(entries)
            check_platforms(entries)
            since = self._board.mark()
            new = {entry.name for entry in entries} - set(self._source.base_paths)
            self._source.update(entries)
            self.configured.set()
            self._board.wait_until_loaded(new, since=since)
            log.info("models=%s reloaded", [entry.name for entry in entries])
        finally:
            self._config_lock.release()

    def acquire(self, ref: ModelRef) -> AbstractContextManager[Loaded[S]]:
        """Hold the version that a request asks for.

        :raises StatusError: INVALID_ARGUMENT without name or with an unknown label; NOT_FOUND.
        """
        if not ref.name:
            raise StatusError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        version = self._labelled(ref.name, label=ref.label) if ref.label else ref.version
        return self._lifecycle.acquire(ref.name, version=version)

    def status(self, ref: ModelRef) -> list[VersionState]:
        """Return the states of one version or of all, the highest first. A label is ignored, as TF Serving does.

        :raises StatusError: NOT_FOUND.
        """
        if ref.version is not None:
            state = self._board.get(ref.name, version=ref.version)
            if state is None:
                raise StatusError(Code.NOT_FOUND, f"Could not find version {ref.version} of model {ref.name}")
            return [state]
        states = self._board.versions(ref.name)
        if not states:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {ref.name}")
        return states

    def loaded(self) -> list[tuple[str, int, str]]:
        """List model, number and base path of every version that serves and whose model is listed."""
        paths = self._source.base_paths
        return [(model, version, paths[model]) for model, version in self._lifecycle.loaded() if model in paths]

    def close(self) -> None:
        """End all waits; a reload that hangs answers UNAVAILABLE."""
        self._closed.set()
        self._board.close()
        self._lifecycle.wake()

    def _lock_config(self) -> None:
        locked = False
        while not locked:
            locked = self._config_lock.acquire(timeout=_LOCK_CHECK_S)
            if self._closed.is_set():
                if locked:
                    self._config_lock.release()
                raise StatusError(Code.UNAVAILABLE, "The server is stopping.")

    def _bind_labels(self, entries: Sequence[ModelEntry]) -> dict[str, dict[str, int]]:
        """Build the label map from nothing; every label must point to what is AVAILABLE now."""
        bound: dict[str, dict[str, int]] = {}
        for entry in entries:
            for label, version in entry.labels.items():
                if not self._may_label(entry.name, label=label, version=version):
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {entry.name}, "
                        "which is not currently available for inference",
                    )
                bound.setdefault(entry.name, {})[label] = version
        return bound

    def _may_label(self, model: str, *, label: str, version: int) -> bool:
        state = self._board.get(model, version=version)
        if state is not None and state.state is State.AVAILABLE:
            return True
        now = (self._labels or {}).get(model, {}).get(label, version)
        return self._allow_labels_for_unavailable and now == version

    def _labelled(self, model: str, *, label: str) -> int:
        if self._labels is None:
            raise StatusError(Code.UNAVAILABLE, f"Model labels does not init yet.{label}")
        version = self._labels.get(model, {}).get(label)
        if version is None:
            raise StatusError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return version
