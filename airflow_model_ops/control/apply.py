"""The third move: drive a fleet to the heads of all its models, and append the fact ``applied``.

Apply is level-triggered: each pass derives the whole documents from the heads, under the fleet lock, and never waits
for a load while it holds the lock, so a slow load of one model cannot delay the rollback of another. Envoy and TF
Serving take whatever is written last; so after its last write a pass reads the heads again, and if one moved, it goes
round once more before it lets go of the lock.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from airflow_model_ops.control.commit import Committer, seconds_of
from airflow_model_ops.control.heads import Head, applied_fact, fleet_plan, read_head, read_heads
from airflow_model_ops.core.errors import FleetBusy, InvalidState, ModelOpsError, NotApplied
from airflow_model_ops.core.log import FactKind, Origin
from airflow_model_ops.core.ports import Clock, FleetPlan, Progress, Repository, Target

_PAUSE_SECONDS, _SLOW_PAUSE_SECONDS = 0.1, 1.0
"""Between two passes; on a platform whose loads take minutes, each pass costs calls of a limited number."""
_LOCK_WAIT_SECONDS = 15.0
_TURN_SECONDS = 1.0
"""How long to wait for the lock before looking whether its holder has brought the model along."""
_PASSES_UNDER_LOCK = 20
_log = logging.getLogger(__name__)


class _LockLost(FleetBusy):
    """The fleet lock was lost while this worker wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A head that the fleet is confirmed to follow.

    :param split: Serving number (as a string) to percent.
    :param seconds: From the head's commit to its confirmation.
    """

    model: str
    generation: int
    split: dict[str, float]
    seconds: float


class FleetApplier:
    """Applies the heads of one fleet.

    :param origin: Who appends the facts.
    """

    def __init__(self, *, repository: Repository, target: Target, fleet: str, clock: Clock, origin: Origin) -> None:
        self._repository = repository
        self._target = target
        self._fleet = fleet
        self._store = repository.fleet(fleet)
        self._clock = clock
        self._origin = origin

    def apply(self, model: str, *, deadline_seconds: float) -> Applied:
        """Apply until the head of ``model`` is confirmed; every other model that waits is brought along.

        :raises NotApplied: if that takes longer than ``deadline_seconds``; the watcher goes on.
        :raises LoadFailed: if a server cannot load a version that the head needs.
        """
        deadline = self._clock.now() + deadline_seconds
        full = False
        while True:
            try:
                if not full and (done := self._finished(model)) is not None:
                    return done  # perhaps by another worker, while this one waited for the lock
                heads, progress = self._locked_pass(frozenset({model}), full=full, wait_seconds=_TURN_SECONDS)
            except ModelOpsError as error:
                if not error.retryable:
                    raise
                why = str(error)
                full = isinstance(error, _LockLost)  # a stale list may have reached the servers
            else:
                head = heads.get(model)
                if head is None:
                    raise self._headless(model)
                if model in progress.applied:
                    return self._applied(model, head, progress)
                if model in progress.failed:
                    raise progress.failed[model]
                why = progress.pending.get(model, "the target said nothing of this model")
            if self._clock.now() >= deadline:
                raise NotApplied(f"fleet {self._fleet!r} does not serve the head of {model!r} yet: {why}")
            self._pause()

    def reconcile(self, *, deadline_seconds: float = 0.0, leave: Collection[str] = ()) -> Progress:
        """Make one full pass over all models of the fleet, checking also what the log says is applied already.

        Until ``deadline_seconds`` more passes follow, each for all models that wait: none waits for another.

        :param leave: Models that need not be waited for.
        """
        deadline = self._clock.now() + deadline_seconds
        progress, full, waiting = Progress(applied={}), True, frozenset[str]()
        while True:
            try:
                _, latest = self._locked_pass(waiting, full=full, wait_seconds=_LOCK_WAIT_SECONDS)
            except ModelOpsError as error:
                if not error.retryable or self._clock.now() >= deadline:
                    raise
                full = full or isinstance(error, _LockLost)
            else:
                progress, full = _later(progress, latest), False
                waiting = frozenset(progress.pending.keys() - progress.failed.keys() - set(leave))
                if not waiting or self._clock.now() >= deadline:
                    return progress
            self._pause()

    def unapplied(self, heads: Mapping[str, Head] | None = None) -> tuple[str, ...]:
        """Return the models whose head is not applied, or whose present documents come from another generation.

        The second case is a stale write by a worker that died before it could mend it. Reads files only.

        :param heads: The heads of the fleet, if they have been read already.
        """
        derived = self._target.document_generations()
        heads = read_heads(self._repository, fleet=self._fleet) if heads is None else heads
        return tuple(
            model
            for model, head in sorted(heads.items())
            if head.applied is None or derived.get(model) != head.generation
        )

    def unload(self, *, deadline_seconds: float, model: str | None = None) -> dict[str, frozenset[int]]:
        """Un-list what no head needs any longer, a late step of its own; return the numbers still listed per model.

        A version that still drains, or whose server does not answer, stays listed and is in the answer.

        :param model: Wait for this model only; ``None``: for all of the fleet.
        """
        deadline = self._clock.now() + deadline_seconds
        while True:
            plan, listed = self._unload_pass()
            surplus = any(
                listed.get(name, frozenset()) - {version.number for version in model_plan.spare}
                for name, model_plan in plan.models.items()
                if model in (None, name)
            )
            if not surplus or self._clock.now() >= deadline:
                return listed
            self._pause()

    def _pause(self) -> None:
        self._clock.sleep(_SLOW_PAUSE_SECONDS if self._target.loads_slowly else _PAUSE_SECONDS)

    def _locked_pass(
        self, models: frozenset[str], *, full: bool, wait_seconds: float
    ) -> tuple[dict[str, Head], Progress]:
        with self._store.lock(wait_seconds=wait_seconds):
            try:
                return self._passes(models, full=full)
            except FleetBusy as error:
                raise _LockLost(str(error)) from error

    def _passes(self, models: frozenset[str], *, full: bool) -> tuple[dict[str, Head], Progress]:
        heads = read_heads(self._repository, fleet=self._fleet)
        for _ in range(_PASSES_UNDER_LOCK):
            plan = self._plan(heads)
            waiting = frozenset(name for name, head in heads.items() if full or head.applied is None)
            progress = self._target.apply(plan, focus=models | waiting)
            now = read_heads(self._repository, fleet=self._fleet)
            moved = _moved(heads, now)
            progress = self._recorded(progress, {name: head for name, head in heads.items() if name not in moved})
            if not moved:
                return heads, progress
            heads = now
        raise NotApplied(f"the heads of fleet {self._fleet!r} moved {_PASSES_UNDER_LOCK} times during one pass; go on")

    def _unload_pass(self) -> tuple[FleetPlan, dict[str, frozenset[int]]]:
        plan = None
        try:
            with self._store.lock(wait_seconds=_LOCK_WAIT_SECONDS):
                heads = read_heads(self._repository, fleet=self._fleet)
                plan = self._plan(heads)
                listed = dict(self._target.unload(plan))
                self._restore(heads)
                return plan, listed
        except Exception:
            if plan is not None:  # something may have been written
                self._mend()
            raise

    def _mend(self) -> None:
        """Bring everything to its head again after an unloading that failed: a list that is too short may have gone out."""
        try:
            self._locked_pass(frozenset(), full=True, wait_seconds=_LOCK_WAIT_SECONDS)
        except (ModelOpsError, OSError) as error:
            _log.error("fleet %s could not be mended after an unloading that failed: %s", self._fleet, error)

    def _restore(self, planned: dict[str, Head]) -> None:
        """After the unloading's last write: bring back at once what a head that moved meanwhile needs."""
        now = read_heads(self._repository, fleet=self._fleet)
        moved = _moved(planned, now)
        if moved:
            self._target.apply(self._plan(now), focus=moved)

    def _headless(self, model: str) -> ModelOpsError:
        read_head(self._repository.log(model))  # says what is wrong if the log cannot be read
        return InvalidState(f"model {model!r} has no serving state on fleet {self._fleet!r}; release or adopt it first")

    def _plan(self, heads: dict[str, Head]) -> FleetPlan:
        return fleet_plan(heads, fleet=self._fleet, now=self._clock.now())

    def _recorded(self, progress: Progress, heads: Mapping[str, Head]) -> Progress:
        """Append the facts; a model whose log cannot be written stays pending and stops no other."""
        unwritten: dict[str, str] = {}
        for name in progress.applied.keys() & heads.keys():
            try:
                self._record(name, heads[name], progress)
            except (ModelOpsError, OSError) as error:
                unwritten[name] = f"it serves, which could not be recorded: {error}"
        applied = {name: split for name, split in progress.applied.items() if name not in unwritten}
        return replace(progress, applied=applied, pending={**progress.pending, **unwritten})

    def _record(self, model: str, head: Head, progress: Progress) -> None:
        self._repository.refresh_links(model, head.state)
        log = self._repository.log(model)
        if head.applied is not None or applied_fact(log, log.last(), head.generation) is not None:
            return
        committer = Committer(log=log, initial=head.state, clock=self._clock)
        split = dict(progress.applied[model])
        committer.record(
            FactKind.APPLIED,
            reason=f"generation {head.generation} serves: {shares(split)}",
            origin=self._origin,
            version=head.entry.version,
            release=head.entry.release,
            detail={"generation": head.generation, "split": split, "action": head.entry.name},
        )

    def _finished(self, model: str) -> Applied | None:
        """Return the application of the head, if the log says so and the present documents come from it."""
        head = read_head(self._repository.log(model))
        if head is None or head.applied is None or head.state.fleet != self._fleet:
            return None
        if self._target.document_generations().get(model) != head.generation:
            return None
        split = head.applied.detail.get("split")
        return None if split is None else _application(model, head, split=split, at=seconds_of(head.applied.at))

    def _applied(self, model: str, head: Head, progress: Progress) -> Applied:
        return _application(model, head, split=progress.applied[model], at=self._clock.now())


def shares(split: Mapping[str, float]) -> str:
    """Return a split in words, for people."""
    return ", ".join(f"{number} {percent:g} %" for number, percent in split.items()) or "nothing"


def _application(model: str, head: Head, *, split: Mapping[str, float], at: float) -> Applied:
    seconds = max(0.0, at - seconds_of(head.entry.at))
    return Applied(model=model, generation=head.generation, split=dict(split), seconds=seconds)


def _later(before: Progress, latest: Progress) -> Progress:
    """Return what is known after a further pass, which looked closely only at the models that waited."""
    pending = {name: why for name, why in before.pending.items() if name not in {*latest.applied, *latest.failed}}
    return Progress(
        applied={**before.applied, **latest.applied},
        pending={**pending, **latest.pending},
        failed={**before.failed, **latest.failed},
    )


def _moved(planned: Mapping[str, Head], now: Mapping[str, Head]) -> frozenset[str]:
    return frozenset(
        name for name, head in now.items() if name not in planned or head.generation != planned[name].generation
    )
