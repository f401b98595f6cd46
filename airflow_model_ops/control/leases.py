"""Leases: the promise that a live release, or its watch, is being looked after, renewed by whoever looks after it.

While an operator or a trigger works, the lease is short and renewed often, so that a killed one is found within seconds.
When it hands over to the next task, it leaves a longer one behind, which covers the scheduler's gap.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.ports import LONGEST_LEASE_SECONDS, Clock, Lease, Repository
from airflow_model_ops.core.state import Fence, LiveRelease
from airflow_model_ops.core.versioning import Version

WORKING_SECONDS = 20.0
"""How long a lease lasts while its holder works; renewed every quarter of it."""
HANDOVER_SECONDS = LONGEST_LEASE_SECONDS
"""How long it lasts from one task to the next."""
WAITING_SECONDS = 60.0
"""How long it lasts while a release waits in the triggerer, for its turn or for a person; renewed every few seconds."""

_WORK = "applying a head"
"""In the place of a release: who drives the fleet to a head, whose generation is in the place of the attempt."""

_log = logging.getLogger(__name__)


class LeaseKeeper:
    """Writes and judges the leases of one model.

    :param working_seconds: How long a lease lasts while its holder works.
    """

    def __init__(
        self, *, repository: Repository, model: str, clock: Clock, working_seconds: float = WORKING_SECONDS
    ) -> None:
        self._repository = repository
        self._model = model
        self._clock = clock
        self._working_seconds = working_seconds

    def renew(self, fence: Fence, version: Version, *, seconds: float | None = None, waiting: bool = False) -> None:
        """Promise to look after a release for ``seconds`` from now; ``None``: as long as for work."""
        lease = Lease(
            release=fence.release,
            attempt=fence.attempt,
            version=version,
            until=self._clock.now() + (self._working_seconds if seconds is None else seconds),
            waiting=waiting,
        )
        self._repository.write_lease(self._model, lease)

    def end(self, fence: Fence) -> None:
        """End the promise; a newer attempt's is left alone."""
        self._repository.end_lease(self._model, fence)

    def renew_work(self, generation: int, version: Version) -> None:
        """Promise to drive the fleet to a head, for as long as for work: the watcher leaves it alone meanwhile."""
        self.renew(Fence(release=_WORK, attempt=generation), version)

    def end_work(self, generation: int) -> None:
        """End that promise; that of a newer head is left alone."""
        self.end(Fence(release=_WORK, attempt=generation))

    def remaining_work_seconds(self, generation: int) -> float:
        """Return how long the promise to drive the fleet to a head, or a newer one, still lasts; negative: there is none."""
        return self.remaining_seconds(Fence(release=_WORK, attempt=generation))

    def has_expired(self, live: LiveRelease | Fence) -> bool:
        """Whether nobody looks after a release any longer that is live, or whose watch holds a version back."""
        return self.remaining_seconds(live) < 0

    def remaining_seconds(self, live: LiveRelease | Fence) -> float:
        """Return how long the lease of a release still lasts; negative once it has run out or was never made."""
        fence = live.fence if isinstance(live, LiveRelease) else live
        now = self._clock.now()
        longest = max(HANDOVER_SECONDS, WAITING_SECONDS)
        left = [
            min(lease.until - now, longest)
            for lease in self._repository.leases(self._model)
            if lease.release == fence.release and lease.attempt >= fence.attempt and not math.isnan(lease.until)
        ]
        return max(left, default=-1.0)

    def newer_waiting(self, version: Version, *, release: str) -> Lease | None:
        """Return the lease of the newest other release that waits with a newer version, if there is one."""
        now = self._clock.now()
        waiting = [
            lease
            for lease in self._repository.leases(self._model)
            if lease.waiting and lease.until >= now and lease.release != release and lease.version > version
        ]
        return max(waiting, key=lambda lease: lease.version.number, default=None)

    @contextmanager
    def working(self, fence: Fence, version: Version) -> Iterator[None]:
        """Renew the lease in the background while the body runs, and hand over afterwards.

        A renewal that fails is logged and tried again: the lease then runs out by itself, which is what it is for.
        """
        self.renew(fence, version)
        done = threading.Event()

        def renew_often() -> None:
            while not done.wait(self._working_seconds / 4):
                try:
                    self.renew(fence, version)
                except (ModelOpsError, OSError) as error:
                    _log.warning("lease of release %s could not be renewed: %s", fence.release, error)

        renewer = threading.Thread(target=renew_often, name=f"lease-{self._model}", daemon=True)
        renewer.start()
        try:
            yield
        finally:
            done.set()
            renewer.join()
        self.renew(fence, version, seconds=HANDOVER_SECONDS)
