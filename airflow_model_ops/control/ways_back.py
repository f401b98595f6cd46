"""Committing a way back: to a version whose files are whole, whoever asks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

from airflow_model_ops.control.commit import Commit, Committer
from airflow_model_ops.core.errors import ModelOpsError, TransitionRefused
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import Repository, Target
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.transitions import Decision
from airflow_model_ops.core.versioning import Version, VersionNaming

_log = logging.getLogger(__name__)

Rule = Callable[[ServingState, Collection[Version]], Decision]
"""Decides on a state, given the versions that are known to be unusable."""


class WaysBack:
    """Takes one model back; a version that would have to be loaded is hashed first, and the next is tried if it is altered."""

    def __init__(
        self, *, model: str, naming: VersionNaming, repository: Repository, target: Target, committer: Committer
    ) -> None:
        self._model = model
        self._naming = naming
        self._repository = repository
        self._target = target
        self._committer = committer

    def commit(self, rule: Rule, *, origin: Origin, fence: Fence | None = None, evidence: str | None = None) -> Commit:
        """Decide until the rule lands on a usable version, and append that.

        :param fence: The release that asks, for the log.
        :raises TransitionRefused: whenever the rule does, with what is wrong with the versions that were tried.
        """
        unusable: dict[Version, str] = {}

        def decide(state: ServingState) -> Decision:
            while True:
                try:
                    decision = rule(state, unusable.keys())
                except TransitionRefused as error:
                    raise _with_reasons(error, unusable) from error
                target = decision.state.stable
                moves = decision.changed and target is not None and target != state.stable
                if not moves or target is None or self._is_usable(target, unusable):
                    return decision

        return self._committer.commit(decide, origin=origin, release=fence, evidence=evidence)

    def named(self, state: ServingState, to: str | None) -> Version | None:
        """Return the version that a person names; ``None`` for the automatic target.

        :param to: ``None`` or ``"previous"``, ``"golden"``, or a version's name.
        :raises TransitionRefused: if there is no golden version.
        :raises VersionNotFound: if the repository never held the version.
        """
        if to is None or to == "previous":
            return None
        if to == "golden":
            if state.golden is None:
                raise TransitionRefused(f"model {self._model!r} has no golden version; pin one, or name a version")
            return state.golden.version
        version = self._naming.parse(to)
        self._repository.manifest(self._model, version)
        return version

    def _is_usable(self, version: Version, unusable: dict[Version, str]) -> bool:
        """Whether a version may be rolled back to; one that is loaded was verified then and is not hashed again."""
        if self._target.is_loaded(self._model, version):
            return True
        try:
            self._repository.verify(self._model, version)
        except (ModelOpsError, OSError, ValueError) as error:  # whatever is wrong with one version, the next may serve
            _log.warning("model %r cannot go back to %s: %s", self._model, version, error)
            unusable[version] = str(error)
            return False
        return True


def _with_reasons(error: TransitionRefused, unusable: Mapping[Version, str]) -> TransitionRefused:
    """Return the refusal of a rollback with what is wrong with the versions that were tried."""
    told = "; ".join(f"{version}: {reason}" for version, reason in unusable.items())
    return type(error)(f"{error} ({told})") if told else error
