"""Reloads that a server has not answered yet: it gets no other list meanwhile.

A TF Serving takes one list at a time and loads a new model before it answers. A reload whose deadline has passed stays
in its queue and is taken later, perhaps after a newer one, whose versions it would then unload; and each waiting reload
occupies one of its gRPC threads. So a server that did not answer is left alone until its statuses show that it is
done or has been restarted, or long enough has passed to ask again.
Source: tensorflow/serving ``model_servers/server_core.cc``, ``ReloadConfig`` (one mutex around the whole of it).
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from airflow_model_ops.adapters.serving.tf_serving_client import LoadState, VersionStatus
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.ports import FleetStore

UNANSWERED_DOCUMENT = "unanswered.json"
ASK_AGAIN_SECONDS = 10.0
"""How long a silent server is left alone: time enough to diagnose it, and its threads last for minutes."""


class UnansweredReloads:
    """The notes of one fleet, kept beside the logs, so that every worker sees them."""

    def __init__(self, store: FleetStore) -> None:
        self._store = store

    def waiting(self) -> dict[str, tuple[str, ...]]:
        """Return the servers to be left alone, and the models of the list that they have not answered."""
        now = time.time()
        return {
            server: tuple(note["models"])
            for server, note in self._notes().items()
            if 0 <= now - note["at"] < ASK_AGAIN_SECONDS
        }

    def update(self, *, answered: Collection[str], silent: Mapping[str, Iterable[str]]) -> None:
        """Forget the servers that answered; note those that did not, with the models of their list."""
        notes = self._notes()
        kept = {server: note for server, note in notes.items() if server not in answered}
        kept |= {server: {"at": time.time(), "models": sorted(models)} for server, models in silent.items()}
        if kept != notes:
            self._store.write(UNANSWERED_DOCUMENT, json.dumps(kept, sort_keys=True).encode())

    def _notes(self) -> dict[str, Any]:
        content = self._store.read(UNANSWERED_DOCUMENT)
        if content is None:
            return {}
        try:
            return dict(json.loads(content))
        except (TypeError, ValueError) as error:
            raise InvalidState(f"{UNANSWERED_DOCUMENT!r} of the fleet cannot be read ({error}); remove it") from error


def is_done(statuses: Iterable[Mapping[int, VersionStatus]]) -> bool:
    """Whether a server has taken its list, or was restarted and has none: no reload waits there any longer.

    :param statuses: Of each model of the list: what the server says of its versions.
    """
    known = list(statuses)
    settled = {LoadState.AVAILABLE, LoadState.END}
    taken = all(any(status.state in settled for status in versions.values()) for versions in known)
    return taken or not any(known)
