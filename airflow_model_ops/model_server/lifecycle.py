"""Loads and unloads versions, one action at a time, and hands loaded ones to requests.

Per version: START, LOADING, AVAILABLE, UNLOADING, END. The new one is loaded before the old one goes, so that a model
with an aspired version never answers "not found" in between. A version that failed to load stays failed for as long as
it is aspired.

One thing is kinder than in TF Serving: a load that is retried is given up as soon as its version is no longer aspired,
where TF Serving first comes to the end of its retries.

Source: TF Serving, ``core/aspired_versions_manager.cc``, ``core/availability_preserving_policy.cc``.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from airflow_model_ops.model_server.path_source import AspiredVersion
from airflow_model_ops.model_server.places import Place
from airflow_model_ops.model_server.state_board import State, StateBoard
from airflow_model_ops.model_server.status import Code, StatusError

log = logging.getLogger(__name__)


class Closable(Protocol):
    """A loaded version, as far as its life is concerned."""

    def close(self) -> None:
        """Free its memory."""


S = TypeVar("S", bound=Closable)


class Phase(enum.Enum):
    """What the lifecycle may do next with a version."""

    NEW = "new"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    GONE = "gone"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True, eq=False)
class _Managed(Generic[S]):
    model: str
    version: int
    path: Place
    aspired: bool = True
    phase: Phase = Phase.NEW
    servable: S | None = None
    in_use: int = 0
    given_up: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[S]):
    """A version in a request's hands; it is not unloaded before the request gives it back."""

    model: str
    version: int
    servable: S


def next_action(versions: Sequence[_Managed[S]]) -> _Managed[S] | None:
    """Choose what to do next for one model: the version to load (it is NEW) or to unload (it is READY), if any."""
    aspired = [version for version in versions if version.aspired]
    surplus = [version for version in versions if not version.aspired and version.phase is Phase.READY]
    serves = any(version.phase is Phase.READY for version in aspired)
    if surplus and (not aspired or serves or len(surplus) > 1):
        return min(surplus, key=lambda version: version.version)
    new = [version for version in aspired if version.phase is Phase.NEW]
    return max(new, key=lambda version: version.version, default=None)


class Lifecycle(Generic[S]):
    """The state machines of all versions. ``tick`` belongs to one thread; everything else may be called from any.

    :param load: Makes a version ready to serve, or raises; gets model, number and place.
    :param board: Where state changes are published.
    :param max_load_retries: Further tries after a failed load, count, at least 0.
    :param retry_wait: Waits before the next try; ends early, with True, when the load is given up.
    """

    def __init__(
        self,
        *,
        load: Callable[[str, int, Place], S],
        board: StateBoard,
        max_load_retries: int = 0,
        retry_wait: Callable[[threading.Event], bool] = threading.Event.is_set,
    ) -> None:
        self._load = load
        self._board = board
        self._max_load_retries = max_load_retries
        self._retry_wait = retry_wait
        self._changed = threading.Condition()
        self._managed: dict[str, dict[int, _Managed[S]]] = {}
        self._pending: dict[str, Sequence[AspiredVersion]] = {}

    def aspire(self, model: str, versions: Sequence[AspiredVersion]) -> None:
        """Ask for these versions of a model and no others. A later call replaces one that is not taken up yet."""
        numbers = {version.number for version in versions}
        with self._changed:
            self._pending[model] = versions
            for version in self._managed.get(model, {}).values():
                if version.version not in numbers:
                    version.given_up.set()
                else:
                    version.given_up.clear()
            self._changed.notify_all()

    def wait_for_work(self, timeout_s: float) -> None:
        """Sleep until someone asks for versions, at most ``timeout_s`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._pending), timeout=timeout_s)

    def wake(self) -> None:
        """End a ``wait_for_work``, and all retries of a load, early."""
        with self._changed:
            for version in self._all():
                version.given_up.set()
            self._changed.notify_all()

    def settle(self) -> None:
        """Tick until there is nothing left to do."""
        while self.tick():
            continue

    def tick(self) -> bool:
        """Take up what is asked for and perform one action.

        :returns: whether anything was done, so that another tick may find more.
        """
        with self._changed:
            self._forget_finished()
            took_up = self._take_up_pending()
            actions = [next_action(list(versions.values())) for versions in self._managed.values()]
            chosen = min((action for action in actions if action), key=self._rank, default=None)
        if chosen is None:
            return took_up
        if chosen.phase is Phase.NEW:
            self._bring_up(chosen)
        else:
            self._take_down(chosen)
        return True

    @contextmanager
    def acquire(self, model: str, *, version: int | None = None) -> Iterator[Loaded[S]]:
        """Hold a loaded version for the length of a request.

        :param version: Serving number; ``None``: the highest that is loaded.
        :raises StatusError: NOT_FOUND.
        """
        with self._changed:
            managed = self._find(model, version=version)
            managed.in_use += 1
            servable = managed.servable
            assert servable is not None  # noqa: S101 - a READY version has one
        try:
            yield Loaded(model=model, version=managed.version, servable=servable)
        finally:
            with self._changed:
                managed.in_use -= 1
                if not managed.in_use and managed.phase is Phase.UNLOADING:
                    self._changed.notify_all()

    def loaded(self) -> list[tuple[str, int]]:
        """List model and number of every version that serves."""
        with self._changed:
            return [(version.model, version.version) for version in self._all() if version.phase is Phase.READY]

    def close(self) -> None:
        """Free every loaded version, once its requests have given it back. Not while another thread ticks."""
        with self._changed:
            ready = [version for version in self._all() if version.phase is Phase.READY]
        for version in ready:
            self._take_down(version)

    def _all(self) -> list[_Managed[S]]:
        return [version for versions in self._managed.values() for version in versions.values()]

    def _find(self, model: str, *, version: int | None) -> _Managed[S]:
        ready = {n: v for n, v in self._managed.get(model, {}).items() if v.phase is Phase.READY}
        number = max(ready, default=None) if version is None else version
        if number is None or number not in ready:
            wanted = f"Latest({model})" if version is None else f"Specific({model}, {version})"
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return ready[number]

    @staticmethod
    def _rank(action: _Managed[S]) -> tuple[bool, str]:
        """Unloads come first: they give memory back."""
        return action.phase is Phase.NEW, action.model

    def _forget_finished(self) -> None:
        done = {Phase.NEW, Phase.GONE, Phase.FAILED}
        for version in self._all():
            if version.phase in done and not version.aspired:
                del self._managed[version.model][version.version]

    def _take_up_pending(self) -> bool:
        took_up = False
        for model, versions in list(self._pending.items()):
            managed = self._managed.setdefault(model, {})
            if any(v.number in managed and not managed[v.number].aspired for v in versions):
                continue  # one of them is still on its way out; it comes back when it is gone
            del self._pending[model]
            took_up = True
            self._set_aspired(model, managed=managed, versions=versions)
        return took_up

    def _set_aspired(self, model: str, *, managed: dict[int, _Managed[S]], versions: Sequence[AspiredVersion]) -> None:
        wanted = {version.number for version in versions}
        for version in managed.values():
            version.aspired = version.version in wanted
        for aspired in versions:
            if aspired.number not in managed:
                managed[aspired.number] = _Managed(model=model, version=aspired.number, path=aspired.path)
                self._board.publish(model, version=aspired.number, state=State.START)
        self._forget_finished()

    def _bring_up(self, version: _Managed[S]) -> None:
        version.phase = Phase.LOADING
        self._board.publish(version.model, version=version.version, state=State.LOADING)
        try:
            servable = self._load_with_retries(version)
        except StatusError as error:
            log.error("model=%s version=%d not loaded: %s", version.model, version.version, error.text)  # noqa: TRY400
            with self._changed:
                version.phase = Phase.FAILED
            self._board.publish(version.model, version=version.version, state=State.END, error=error)
            return
        with self._changed:
            version.servable = servable
            version.phase = Phase.READY
        log.info("model=%s version=%d loaded from %s", version.model, version.version, version.path)
        self._board.publish(version.model, version=version.version, state=State.AVAILABLE)

    def _load_with_retries(self, version: _Managed[S]) -> S:
        for retries_left in range(self._max_load_retries, -1, -1):
            try:
                return self._load(version.model, version.version, version.path)
            except StatusError as error:
                if not retries_left or self._retry_wait(version.given_up):
                    raise
                log.warning("model=%s version=%d: %s; trying again", version.model, version.version, error.text)
        raise StatusError(Code.INTERNAL, "max_load_retries is negative")

    def _take_down(self, version: _Managed[S]) -> None:
        self._board.publish(version.model, version=version.version, state=State.UNLOADING)
        with self._changed:
            version.phase = Phase.UNLOADING
            self._changed.wait_for(lambda: version.in_use == 0)
            servable, version.servable = version.servable, None
            version.phase = Phase.GONE
        if servable is not None:
            servable.close()
        log.info("model=%s version=%d unloaded", version.model, version.version)
        self._board.publish(version.model, version=version.version, state=State.END)
