"""A load that takes minutes, pass by pass: for those who look in every few seconds rather than wait.

All that is known is in the log: the watch may be begun anew elsewhere at any time, and two of them do no harm, as every pass
only brings the fleet nearer to the head.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_model_ops.control.apply import shares
from airflow_model_ops.control.commit import seconds_of
from airflow_model_ops.control.heads import read_head
from airflow_model_ops.control.leases import HANDOVER_SECONDS, WAITING_SECONDS
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.versioning import Version

_log = logging.getLogger(__name__)


class Purpose(StrEnum):
    """What a version is loaded for, and so what makes its load pointless."""

    RELEASE = "release"
    """To be a release's canary: until the release is no longer live."""
    STABLE = "stable"
    """To be stable after a way back: until another version is stable."""
    GOLDEN = "golden"
    """To be golden: until another version is pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is loaded, what for, and how long that may take.

    :param generation: The head's generation when it was begun.
    :param since: When it was committed, seconds since the epoch: a retry has no more time than its first try.
    :param fence: The release, if it is for one.
    """

    purpose: Purpose
    version: Version
    generation: int
    since: float
    longest_seconds: float
    fence: Fence | None = None

    @classmethod
    def of_head(
        cls, control: ModelControl, version: Version, purpose: Purpose, *, longest_seconds: float, fence: Fence | None
    ) -> Load:
        """Return the load that the model's present head asks for."""
        state, generation = control.committer.head()
        head = control.committer.log.read(generation)
        since = seconds_of(head.at) if head is not None else control.clock.now()
        if state.release is not None and state.release.fence == fence:
            since = seconds_of(state.release.started_at)
        return cls(
            purpose=purpose,
            version=version,
            generation=generation,
            since=since,
            longest_seconds=longest_seconds,
            fence=fence,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form that a trigger is given."""
        return {
            "purpose": self.purpose.value,
            "version": self.version.to_json(),
            "generation": self.generation,
            "since": self.since,
            "longest_seconds": self.longest_seconds,
            "release": self.fence.release if self.fence else None,
            "attempt": self.fence.attempt if self.fence else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Load:
        """Read what :meth:`to_json` wrote."""
        release = data["release"]
        return cls(
            purpose=Purpose(data["purpose"]),
            version=Version.from_json(data["version"]),
            generation=int(data["generation"]),
            since=float(data["since"]),
            longest_seconds=float(data["longest_seconds"]),
            fence=None if release is None else Fence(release=str(release), attempt=int(data["attempt"])),
        )

    def is_wanted(self, state: ServingState) -> bool:
        """Whether the state still asks for it."""
        if self.purpose is Purpose.RELEASE:
            return self.fence is not None and state.is_live(self.fence)
        if self.purpose is Purpose.STABLE:
            return state.stable == self.version
        return state.golden is not None and state.golden.version == self.version


class LoadResult(StrEnum):
    """How a load ended."""

    LOADED = "loaded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    PRE_EMPTED = "pre-empted"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutcome:
    """How a load ended, in a sentence."""

    result: LoadResult
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the form a trigger event carries."""
        return {"result": self.result.value, "reason": self.reason}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LoadOutcome:
        """Read what :meth:`to_json` wrote."""
        return cls(result=LoadResult(data["result"]), reason=str(data["reason"]))


class LoadWatch:
    """Looks after one load: renews its leases, makes passes, and says when it is over."""

    def __init__(self, *, control: ModelControl, load: Load) -> None:
        self._control = control
        self._load = load
        self._why = ""

    def hand_over(self) -> None:
        """Leave leases behind that last until another one looks after the load."""
        self._renew(HANDOVER_SECONDS)

    def look_after(self) -> LoadOutcome | None:
        """Renew the leases; return the outcome if nobody wants the load any longer. Asks the repository only."""
        state = self._control.state
        if not self._load.is_wanted(state):
            return self._pre_empted()
        self._renew(WAITING_SECONDS)
        return None

    def make_pass(self) -> LoadOutcome | None:
        """Bring the fleet one pass nearer to the head; return the outcome if the load is over.

        :raises ModelOpsError: if the repository cannot be read; a later pass may.
        """
        if not self._load.is_wanted(self._control.state):
            return self._pre_empted()
        try:
            applied = self._control.apply(deadline_seconds=0.0)
        except ModelOpsError as error:
            if not error.retryable:
                return self._over(LoadResult.FAILED, str(error))
            return self._goes_on(str(error))
        told = f"{self._load.version} is loaded; what serves: {shares(applied.split)}"
        return self._over(LoadResult.LOADED, told)

    def _goes_on(self, why: str) -> LoadOutcome | None:
        load, now = self._load, self._control.clock.now()
        if now - load.since >= load.longest_seconds:
            told = f"{load.version} was not loaded within {load.longest_seconds:g} s of its commit: {why}"
            return self._over(LoadResult.TIMED_OUT, told)
        if why != self._why:
            _log.info("model=%s version=%s seconds=%.0f %s", self._control.model, load.version, now - load.since, why)
        self._why = why
        return None

    def _pre_empted(self) -> LoadOutcome:
        head = read_head(self._control.committer.log)
        told = f": generation {head.generation}, {head.entry.reason}" if head is not None else ""
        return self._over(LoadResult.PRE_EMPTED, f"{self._load.version} is no longer wanted{told}")

    def _over(self, result: LoadResult, reason: str) -> LoadOutcome:
        """Leave a lease for the task that goes on, or for the one that ends the release."""
        leases, fence = self._control.leases, self._load.fence
        leases.end_work(self._load.generation)
        if fence is not None and self._control.state.is_live(fence):
            leases.renew(fence, self._load.version, seconds=HANDOVER_SECONDS)
        return LoadOutcome(result=result, reason=reason)

    def _renew(self, seconds: float) -> None:
        leases, fence = self._control.leases, self._load.fence
        leases.renew_work(self._load.generation, self._load.version)
        if fence is not None:
            leases.renew(fence, self._load.version, seconds=seconds)
