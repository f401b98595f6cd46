"""What nobody asked for and somebody must do: finish what a killed worker left, end what nobody looks after, mend drift."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field

from airflow_model_ops.control.apply import FleetApplier
from airflow_model_ops.control.commit import Committer
from airflow_model_ops.control.heads import Head, fleet_plan, read_head, read_heads
from airflow_model_ops.control.leases import WORKING_SECONDS, LeaseKeeper
from airflow_model_ops.core import transitions
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import Clock, Repository, Target
from airflow_model_ops.core.state import ServingState

GRACE_SECONDS = 4.0
"""How old an unapplied head must be before anybody but its author applies it."""
LOOK_SECONDS = 10.0
"""How often the servers are asked whether they hold what the applied heads need."""
_SILENT_SECONDS = WORKING_SECONDS * 0.45
"""A working lease is renewed every quarter of its length; one this old has missed a renewal."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neglected:
    """What needs a hand on one fleet: models whose head is not applied, and whose release is abandoned.

    :param abandoned: Models whose live release, or whose watch that holds a version back, nobody looks after any longer.
    :param astray: Models whose head was applied, and of which a server lacks versions or labels: it was restarted, or was
        sent a stale list by a worker that died of it.
    :param heads: Each of them with the generation of its head: a newer one is another finding.
    """

    unapplied: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()
    astray: tuple[str, ...] = ()
    heads: frozenset[tuple[str, int]] = field(default=frozenset(), compare=False)

    @property
    def models(self) -> tuple[str, ...]:
        """All models that need a hand."""
        return tuple(sorted({*self.unapplied, *self.abandoned, *self.astray}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a reconciliation did, and what it could not do, each in a sentence per model.

    :param drifted: How what serves had strayed from an applied head before, if that was looked for.
    """

    done: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    drifted: dict[str, str] = field(default_factory=dict)


class Upkeep:
    """Looks after all models of one fleet; needs no YAML file of theirs."""

    def __init__(self, *, repository: Repository, target: Target, fleet: str, clock: Clock, origin: Origin) -> None:
        self._repository = repository
        self._target = target
        self._fleet = fleet
        self._clock = clock
        self._origin = origin
        self._looked_at = float("-inf")
        self._astray: set[tuple[str, int]] = set()
        self._applier = FleetApplier(repository=repository, target=target, fleet=fleet, clock=clock, origin=origin)

    def neglected(self) -> Neglected:
        """Return what needs a hand now; it can be asked every second, and asks the servers every tenth.

        A head whose author works on it (its lease was renewed a moment ago) is left to the author.
        """
        now = self._clock.now()
        heads = read_heads(self._repository, fleet=self._fleet)
        waiting = self._applier.unapplied(heads)
        unapplied, abandoned = [], []
        for model, head in sorted(heads.items()):
            keeper = self._keeper(model)
            try:
                if head.state.leased is not None and keeper.has_expired(head.state.leased):
                    abandoned.append(model)
                waits = model in waiting and head.age_seconds(now) > GRACE_SECONDS
                if waits and not self._is_worked_on(keeper, head):
                    unapplied.append(model)
            except (ModelOpsError, OSError) as error:
                _log.error("cannot look after model %r of fleet %r now: %s", model, self._fleet, error)
        astray = self._look({model: head for model, head in heads.items() if model not in waiting})
        return Neglected(
            unapplied=tuple(unapplied),
            abandoned=tuple(abandoned),
            astray=tuple(sorted(astray)),
            heads=frozenset((model, heads[model].generation) for model in (*unapplied, *abandoned, *astray)),
        )

    def _look(self, applied: dict[str, Head]) -> set[str]:
        """Return the models whose servers have strayed from an applied head, as the last look has shown."""
        if self._clock.now() - self._looked_at >= LOOK_SECONDS and applied:
            self._looked_at = self._clock.now()
            found = self._strays(applied)
            for model, why in found.items():
                _log.warning("model=%s %s", model, why)
            self._astray = {(model, applied[model].generation) for model in found}
        return {model for model, head in applied.items() if (model, head.generation) in self._astray}

    def _strays(self, applied: dict[str, Head]) -> dict[str, str]:
        """Ask the servers what has strayed from applied heads, each with the reason; nothing if they cannot be asked."""
        if not applied:
            return {}
        try:
            return dict(self._target.astray(fleet_plan(applied, fleet=self._fleet, now=self._clock.now())))
        except (ModelOpsError, OSError) as error:
            _log.error("cannot look at the servers of fleet %r now: %s", self._fleet, error)
            return {}

    def _drifted(self, heads: dict[str, Head], waiting: Collection[str]) -> dict[str, str]:
        """Return how what serves has strayed from heads that were applied."""
        written = "the documents that serve come from another generation than the one that was applied"
        stale = {model: written for model in waiting if heads[model].applied is not None}
        settled = {model: head for model, head in heads.items() if head.applied is not None and model not in stale}
        return {**stale, **self._strays(settled)}

    def reconcile(self, *, deadline_seconds: float, look_for_drift: bool = False) -> Reconciled:
        """Abort abandoned releases, end abandoned hold-backs, apply every head, and compare with what really serves.

        One model that cannot be mended does not keep the others from it, nor delays them.

        :param deadline_seconds: How long to go on, for all models together.
        :param look_for_drift: Whether to ask the servers first what has strayed, so that it can be told.
        """
        done: dict[str, str] = {}
        failed: dict[str, str] = {}
        for model, head in read_heads(self._repository, fleet=self._fleet, unread=failed).items():
            try:
                self._end_if_abandoned(model, head.state, done)
            except (ModelOpsError, OSError) as error:
                failed[model] = str(error)
        heads = read_heads(self._repository, fleet=self._fleet)
        waiting = self._applier.unapplied(heads)
        drifted = self._drifted(heads, waiting) if look_for_drift else {}
        progress = self._applier.reconcile(
            deadline_seconds=deadline_seconds, leave={model for model in waiting if self._is_left_to_its_author(model)}
        )
        unfinished = {**progress.pending, **{model: str(error) for model, error in progress.failed.items()}}
        for model in set(waiting) & progress.applied.keys() - unfinished.keys():
            done[model] = (
                f"{done[model]}; applied" if model in done else f"generation {heads[model].generation} applied"
            )
        for model, why in unfinished.items():
            if not self._is_left_to_its_author(model):
                failed.setdefault(model, why)
        return Reconciled(done=done, failed=failed, drifted=drifted)

    def _end_if_abandoned(self, model: str, seen: ServingState, done: dict[str, str]) -> None:
        fence, keeper = seen.leased, self._keeper(model)
        if fence is None or not keeper.has_expired(fence):
            return
        committer = Committer(log=self._repository.log(model), initial=seen, clock=self._clock)
        what, rule = ("", transitions.abort) if seen.release else ("the watch of ", transitions.end_hold_back)
        reason = f"{what}release {fence.release!r} attempt {fence.attempt} was abandoned: nobody renewed its lease"
        commit = committer.commit(
            lambda state: rule(state, reason=reason, fence=fence), origin=self._origin, release=fence
        )
        if commit.state.leased != fence:
            keeper.end(fence)
        if commit.changed:
            _log.warning("model=%s %s", model, commit.reason)
            done[model] = commit.reason

    def _keeper(self, model: str) -> LeaseKeeper:
        return LeaseKeeper(repository=self._repository, model=model, clock=self._clock)

    def _is_left_to_its_author(self, model: str) -> bool:
        """Whether the head waits because its author still works on it: a load may take many minutes."""
        try:
            head = read_head(self._repository.log(model))
            return head is not None and head.applied_at is None and self._is_worked_on(self._keeper(model), head)
        except (ModelOpsError, OSError) as error:
            _log.error("cannot tell whether anybody works on model %r: %s", model, error)
            return False

    def _is_worked_on(self, keeper: LeaseKeeper, head: Head) -> bool:
        """Whether its author renews a working lease; a longer one was left for the next task, which applies nothing old.

        A load that takes minutes has a lease of its own for that: its release's outlasts a restart of the triggerer.
        """
        live = head.state.release
        promises = [keeper.remaining_work_seconds(head.generation)]
        if live is not None:
            promises.append(keeper.remaining_seconds(live))
        return any(WORKING_SECONDS - _SILENT_SECONDS < left <= WORKING_SECONDS for left in promises)
