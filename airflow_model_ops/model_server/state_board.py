"""The last state of every version the server has ever seen.

Source: TF Serving, ``core/servable_state_monitor.cc`` and ``get_model_status.proto``.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Collection
from dataclasses import dataclass

from airflow_model_ops.model_server.status import Code, StatusError


class State(enum.IntEnum):
    """Where a version is in its life; the numbers are those of the wire."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionState:
    """One version's state.

    :param error_code: Other than OK only for a version that could not be loaded (state END).
    :param event: Number of the state change, rising.
    """

    model: str
    version: int
    state: State
    error_code: Code = Code.OK
    error_message: str = ""
    event: int = 0

    @property
    def debug_text(self) -> str:
        """How TF Serving names the version, and its error, in a message."""
        identity = f"{{name: {self.model} version: {self.version}}}"
        due = f" due to error: {self.error_code.name}: {self.error_message}" if self.error_code else ""
        return identity + due


class StateBoard:
    """Keeps states, also those of versions long gone: an END stays until the process ends."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._states: dict[str, dict[int, VersionState]] = {}
        self._events = 0
        self._closed = False

    def publish(self, model: str, *, version: int, state: State, error: StatusError | None = None) -> None:
        """Record a state change and wake whoever waits for it."""
        with self._changed:
            self._events += 1
            self._states.setdefault(model, {})[version] = VersionState(
                model=model,
                version=version,
                state=state,
                error_code=error.code if error else Code.OK,
                error_message=error.message if error else "",
                event=self._events,
            )
            self._changed.notify_all()

    def get(self, model: str, *, version: int) -> VersionState | None:
        """Return one version's state; ``None`` when it was never seen."""
        with self._changed:
            return self._states.get(model, {}).get(version)

    def versions(self, model: str) -> list[VersionState]:
        """Return all states of a model, the highest number first."""
        with self._changed:
            states = self._states.get(model, {})
            return [states[version] for version in sorted(states, reverse=True)]

    def mark(self) -> int:
        """Return the number of the newest state change."""
        with self._changed:
            return self._events

    def close(self) -> None:
        """End all waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_until_loaded(self, models: Collection[str], *, since: int) -> None:
        """Wait, without limit, until each model has a version that is AVAILABLE or at its END.

        :param since: Only state changes after this mark count.
        :raises StatusError: UNKNOWN when a model came to its END instead; UNAVAILABLE when the server stops.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._decided(models, since=since) is not None)
            reached = self._decided(models, since=since)
        if reached is None:
            raise StatusError(Code.UNAVAILABLE, "The server is stopping.")
        failed = [state for state in reached if state.state is not State.AVAILABLE]
        if failed:
            listed = "".join(f"{{{state.debug_text}}}, " for state in failed)
            raise StatusError(Code.UNKNOWN, f"{len(failed)} model(s) did not become available: {{{listed}}}")

    def _decided(self, models: Collection[str], *, since: int) -> list[VersionState] | None:
        """Return the deciding state of each model, or ``None`` while one has none."""
        decided = []
        for model in sorted(models):
            states = self._states.get(model, {})
            fresh = (states[version] for version in sorted(states, reverse=True) if states[version].event > since)
            first = next((state for state in fresh if state.state in {State.AVAILABLE, State.END}), None)
            if first is None:
                return None
            decided.append(first)
        return decided
