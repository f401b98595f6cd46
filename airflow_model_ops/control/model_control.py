"""One model's controls: every verb that operators, the command line and triggers use, over the ports.

A verb decides and commits; ``apply`` makes it so. They are apart because the second may be repeated by anybody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from datetime import datetime
from typing import Any

from airflow_model_ops.control.apply import Applied, FleetApplier
from airflow_model_ops.control.clock import SystemClock
from airflow_model_ops.control.commit import REQUEST_LOOKBACK, Commit, Committer, iso_time
from airflow_model_ops.control.leases import HANDOVER_SECONDS, LeaseKeeper
from airflow_model_ops.control.ways_back import Rule, WaysBack
from airflow_model_ops.core import transitions
from airflow_model_ops.core.candidates import artifact_in, pushed_detail
from airflow_model_ops.core.errors import InvalidConfig, ModelOpsError, PreEmpted, VersionExists, VersionNotFound
from airflow_model_ops.core.log import Entry, FactKind, Origin
from airflow_model_ops.core.ports import Clock, Manifest, PushRequest, Repository, Target
from airflow_model_ops.core.state import Actor, Canary, Fence, LiveRelease, ServingState
from airflow_model_ops.core.transitions import Action, Decision
from airflow_model_ops.core.versioning import Version, VersionNaming

_SOON_SECONDS = 30.0
_SAME_SECOND_TRIES = 60
"""How many seconds ahead a push may be named when others took its second."""
_log = logging.getLogger(__name__)


class ModelControl:
    """The controls of one model.

    :param initial: The state of a model without a log: its fleet and how many earlier versions stay loaded. The latter is
        taken over by the next release, too, since its YAML file may have changed.
    :param origin: Who acts, in which run.
    """

    def __init__(
        self,
        *,
        model: str,
        naming: VersionNaming,
        repository: Repository,
        target: Target,
        initial: ServingState,
        origin: Origin,
        clock: Clock | None = None,
    ) -> None:
        self.model = model
        self.naming = naming
        self.repository = repository
        self.target = target
        self.origin = origin
        self.clock = clock or SystemClock()
        self._keep_warm = initial.keep_warm
        self.committer = Committer(log=repository.log(model), initial=initial, clock=self.clock)
        self._ways_back = WaysBack(
            model=model, naming=naming, repository=repository, target=target, committer=self.committer
        )
        self.leases = LeaseKeeper(repository=repository, model=model, clock=self.clock)
        self.applier = FleetApplier(
            repository=repository,
            target=target,
            fleet=initial.fleet,
            clock=self.clock,
            origin=replace(origin, request=None),
        )

    def acting_as(self, actor: Actor) -> ModelControl:
        """Return these controls in the hands of somebody else, such as the person whose answer a task carries out."""
        others = copy(self)
        others.origin = replace(self.origin, actor=actor, request=None)
        return others

    @property
    def state(self) -> ServingState:
        """The newest committed state."""
        return self.committer.head()[0]

    def require_stable(self) -> Version:
        """Return the stable version.

        :raises VersionNotFound: if the model has none.
        """
        stable = self.state.stable
        if stable is None:
            raise VersionNotFound(f"model {self.model!r} has no stable version; name a version, or release one first")
        return stable

    def apply(self, *, deadline_seconds: float) -> Applied:
        """Drive the fleet to the head; see :meth:`FleetApplier.apply`."""
        return self.applier.apply(self.model, deadline_seconds=deadline_seconds)

    def try_apply(self) -> None:
        """Apply, and leave what cannot be confirmed soon to the watcher: for those who have more to do than to wait."""
        try:
            self.apply(deadline_seconds=_SOON_SECONDS)
        except ModelOpsError as error:
            _log.error("committed and not yet applied; the watcher goes on: %s", error)

    def push(self, request: PushRequest, *, name: str | None = None) -> Manifest:
        """Store a version and record the fact; a retry adopts its own first try.

        :param name: The version's name; ``None``: named after ``request.created``, or the next free second if another
            run took that one.
        :raises VersionExists: if the name is taken by other content, or this very run pushed other content before.
        :raises NotASavedModel: if the directory is not one.
        """
        if name is not None:
            manifest = self.repository.push(self.model, self.naming.parse(name), request)
        else:
            manifest = self._push_in_free_second(request)
        self.committer.record(
            FactKind.PUSHED,
            reason=f"{manifest.version} pushed, {manifest.size} bytes in {len(manifest.files)} files",
            origin=replace(self.origin, request=f"push {manifest.version.name} {manifest.digest}"),
            version=manifest.version,
            detail={"digest": manifest.digest} | pushed_detail(manifest.source),
        )
        return manifest

    def pushed_in_run(self, dag_id: str, run_id: str) -> Manifest | None:
        """Return what a DAG run has pushed before, so that its retry does not choose again and choose otherwise."""
        entry = self.committer.log.last()
        for _ in range(REQUEST_LOOKBACK):
            if entry is None:
                return None
            run = entry.origin.run
            pushed = entry.name == FactKind.PUSHED.value and entry.version is not None
            if pushed and entry.version and (run.get("dag_id"), run.get("run_id")) == (dag_id, run_id):
                return self.repository.manifest(self.model, entry.version)
            entry = self.committer.log.read(entry.sequence - 1)
        return None

    def record_validation(self, version: Version, *, blessed: bool, reason: str, detail: Mapping[str, Any]) -> None:
        """Record whether a version earned its blessing."""
        self.committer.record(
            FactKind.VALIDATED,
            reason=reason,
            origin=self.origin,
            version=version,
            detail={"blessed": blessed, **detail},
        )

    def start_canary(self, version: Version, *, fence: Fence, percent: float = 0) -> Commit:
        """Put a version on trial.

        :raises VersionNotFound: if the repository does not hold its files.
        :raises ServerUnreachable: or RouterUnreachable, before anything is committed.
        :raises PreEmpted: if this attempt or a newer one of the release started before and has ended since.
        :raises TransitionRefused: if the rules forbid it.
        """
        self._require_not_ended(fence)
        self.repository.check_files(self.model, version)
        self.target.check()
        started = LiveRelease(
            id=fence.release, attempt=fence.attempt, version=version, started_at=iso_time(self.clock.now())
        )

        def decide(state: ServingState) -> Decision:
            live = state.release
            release = replace(started, started_at=live.started_at) if live and live.fence == fence else started
            expired = live is not None and self.leases.has_expired(live)
            return transitions.start_canary(
                state, release=release, percent=percent, lease_expired=expired, keep_warm=self._keep_warm
            )

        self.leases.renew(fence, version)
        try:
            return self._commit(decide, fence=fence)
        except ModelOpsError:
            if not self.state.is_live(fence):  # a retry that was refused, say by a hold, must not abandon its release
                self.leases.end(fence)
            raise

    def shift(self, *, fence: Fence, percent: float) -> Commit:
        """Give the canary another share of the traffic; servers and routers must answer first."""
        self.target.check()
        return self._commit(lambda state: transitions.shift(state, fence=fence, percent=percent), fence=fence)

    def promote(
        self,
        version: Version,
        *,
        fence: Fence,
        proof: str,
        evidence: str | None = None,
        hold_back: float = 0,
        hold_back_seconds: float | None = None,
    ) -> Commit:
        """Make the canary stable; servers and routers must answer first, unless an earlier try has done it.

        With a hold-back the release keeps its lease: whoever watches renews it, and once it has run out the hold-back ends.

        :param hold_back: The share of traffic that the former stable version keeps, in percent; 0: none.
        :param hold_back_seconds: How long it is meant to; shown to people.
        """
        if self.was_promoted(fence):
            self.keep_watched(fence, version)
            return self._promoted_before(version)
        self.target.check()
        until = None if hold_back_seconds is None else iso_time(self.clock.now() + hold_back_seconds)
        if hold_back:
            self.leases.renew(fence, version, seconds=HANDOVER_SECONDS)
        return self._commit(
            lambda state: transitions.promote(
                state, fence=fence, version=version, proof=proof, hold_back=hold_back, hold_back_until=until
            ),
            fence=fence,
            evidence=evidence,
        )

    def keep_watched(self, fence: Fence, version: Version) -> None:
        """Promise to watch what a release has promoted, if a version is held back for that."""
        if self.state.leased == fence:
            self.leases.renew(fence, version, seconds=HANDOVER_SECONDS)

    def end_hold_back(self, *, reason: str, fence: Fence | None) -> Commit:
        """Give stable all traffic, as the watch of a release ends; needs the repository only.

        :param fence: The release that is watched: a late one changes nothing. ``None``: a person asks.
        """
        return self._commit(lambda state: transitions.end_hold_back(state, reason=reason, fence=fence), fence=fence)

    def abort(self, *, reason: str, fence: Fence | None, harmed: bool = False, evidence: str | None = None) -> Commit:
        """End the live release; needs the repository only, and changes nothing for a late actor."""
        return self._commit(
            lambda state: transitions.abort(state, reason=reason, fence=fence, harmed=harmed),
            fence=fence,
            evidence=evidence,
        )

    def was_promoted(self, fence: Fence) -> bool:
        """Whether an attempt of a release made its version stable, whatever came after."""
        return self.promotion_of(fence) is not None

    def promotion_of(self, fence: Fence) -> Entry | None:
        """Return the transition by which an attempt of a release made its version stable; ``None``: it did not."""
        entry = self.committer.log.last()
        while entry is not None and not (entry.action is Action.START_CANARY and entry.release == fence):
            if entry.action is Action.PROMOTE and entry.release == fence:
                return entry
            entry = self.committer.log.read(entry.sequence - 1)
        return None

    def rollback(self, *, reason: str, to: str | None = None, seen: int | None = None) -> Commit:
        """Take the model back: see :func:`airflow_model_ops.core.transitions.rollback`.

        :param to: ``None`` or ``"previous"``: the automatic target; ``"golden"``; or a version's name.
        :param seen: The generation that the person who asks has looked at; ``None``: the head.
        :raises InvalidConfig: if there is no such generation.
        :raises NoRollbackTarget: if there is nothing to go back to; what serves goes on serving.
        :raises TransitionRefused: if the named version may not serve.
        """
        looked_at = self.state if seen is None else self._state_at(seen)
        return self.go_back(
            lambda state, unusable: transitions.rollback(
                state,
                actor=self.origin.actor,
                reason=reason,
                to=self._ways_back.named(state, to),
                unusable=unusable,
                seen=looked_at,
            )
        )

    def _state_at(self, generation: int) -> ServingState:
        entry = self.committer.log.read(generation) if generation > 0 else None
        if entry is None or entry.state is None:
            raise InvalidConfig(f"model {self.model!r} has no generation {generation}; look again, or leave it out")
        return entry.state

    def rollback_watched(
        self, *, fence: Fence, reason: str, harmed: bool = False, evidence: str | None = None
    ) -> Commit:
        """Take back what a release promoted, as its watch asks: see :func:`~airflow_model_ops.core.transitions.rollback_watched`.

        :param harmed: Whether the verdict was HARM: the version is quarantined.
        :raises NoRollbackTarget: if there is nothing to go back to; what serves goes on serving.
        """
        return self.go_back(
            lambda state, unusable: transitions.rollback_watched(
                state, fence=fence, reason=reason, harmed=harmed, unusable=unusable
            ),
            fence=fence,
            evidence=evidence,
        )

    def rollback_guarded(self, *, version: Version, reason: str, evidence: str | None = None) -> Commit:
        """Go back from a stable version that breaches a limit: see :func:`~airflow_model_ops.core.transitions.rollback_guarded`.

        :raises ModelOnHold: if a person holds the model.
        :raises NoRollbackTarget: if there is nothing to go back to; what serves goes on serving.
        """
        return self.go_back(
            lambda state, unusable: transitions.rollback_guarded(
                state, version=version, reason=reason, unusable=unusable
            ),
            evidence=evidence,
        )

    def pin_golden(self, version: Version) -> Commit:
        """Pin the known-good version.

        :raises VersionAltered: if its files differ from its manifest.
        """
        self.repository.verify(self.model, version)
        return self._commit(
            lambda state: transitions.pin_golden(state, version=version, actor=self.origin.actor), fence=None
        )

    def quarantine(self, version: Version, *, reason: str, force: bool = False) -> Commit:
        """Ban a version."""
        self.repository.manifest(self.model, version)
        return self._commit(
            lambda state: transitions.quarantine(state, version=version, reason=reason, force=force), fence=None
        )

    def lift(self, version: Version, *, reason: str) -> Commit:
        """End a quarantine."""
        return self._commit(
            lambda state: transitions.lift(state, version=version, actor=self.origin.actor, reason=reason), fence=None
        )

    def hold(self, *, reason: str) -> Commit:
        """Stop shifts and promotions."""
        return self._commit(lambda state: transitions.hold(state, actor=self.origin.actor, reason=reason), fence=None)

    def resume(self, *, reason: str) -> Commit:
        """End a hold."""
        return self._commit(lambda state: transitions.resume(state, actor=self.origin.actor, reason=reason), fence=None)

    def adopt(self, *, stable: Version | None, canary: Canary | None, golden: Version | None) -> Commit:
        """Take over what the fleet already serves; the files must be in the repository."""
        for version in (stable, canary.version if canary else None, golden):
            if version is not None:
                self.repository.check_files(self.model, version)
        return self._commit(
            lambda state: transitions.adopt(
                state, stable=stable, canary=canary, golden=golden, actor=self.origin.actor
            ),
            fence=None,
        )

    def _promoted_before(self, version: Version) -> Commit:
        state, generation = self.committer.head()
        reason = f"{version} was promoted by an earlier try"
        return Commit(state=state, generation=generation, reason=reason, changed=False, version=version)

    def go_back(self, rule: Rule, *, fence: Fence | None = None, evidence: str | None = None) -> Commit:
        """Commit a way back by any rule: to a version whose files are whole; see :class:`.WaysBack`."""
        commit = self._ways_back.commit(rule, origin=self.origin, fence=fence, evidence=evidence)
        return self._with_leases_ended(commit, fence=fence)

    def _commit(
        self, decide: Callable[[ServingState], Decision], *, fence: Fence | None, evidence: str | None = None
    ) -> Commit:
        commit = self.committer.commit(decide, origin=self.origin, release=fence, evidence=evidence)
        return self._with_leases_ended(commit, fence=fence)

    def _with_leases_ended(self, commit: Commit, *, fence: Fence | None) -> Commit:
        """End the lease of the asking release, and of the one before, unless it goes on: live, or watched with a hold-back."""
        former = commit.former.leased if commit.former else None
        for ended in {fence, former} - {None, commit.state.leased}:
            if ended is not None:
                self.leases.end(ended)
        return commit

    def _require_not_ended(self, fence: Fence) -> None:
        """The state remembers only the release that ended last; a retry may come after the next one has ended, too."""
        if self.state.is_live(fence):
            return
        entry = self.committer.log.last()
        for _ in range(REQUEST_LOOKBACK):
            if entry is None:
                return
            started = entry.release if entry.action is Action.START_CANARY else None
            if started and started.release == fence.release and started.attempt >= fence.attempt:
                raise PreEmpted(
                    f"pre-empted: release {fence.release!r} attempt {started.attempt} is no longer live; "
                    "clear its task to start a new attempt"
                )
            entry = self.committer.log.read(entry.sequence - 1)

    def _push_in_free_second(self, request: PushRequest) -> Manifest:
        version = self.naming.from_time(datetime.fromisoformat(request.created))
        for _ in range(_SAME_SECOND_TRIES):
            try:
                return self.repository.push(self.model, version, request)
            except VersionExists:
                if self._is_own(version, request):
                    raise
                version = self.naming.next_second(version)
        raise VersionExists(
            f"the {_SAME_SECOND_TRIES} seconds from {request.created} on are all taken; push again later"
        )

    def _is_own(self, version: Version, request: PushRequest) -> bool:
        """Whether a version is the first try of a push: of this run, and of the same artifact if it is a pipeline's."""
        run, kept = request.source.get("run"), self.repository.manifest(self.model, version).source
        return run is not None and kept.get("run") == run and artifact_in(kept) == artifact_in(request.source)
