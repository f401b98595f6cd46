"""What a task did to a model, read from the model's log when the task is over.

The log is the truth: it names the task behind each entry, also behind those that a trigger wrote for it while it was
deferred, or that an earlier try wrote before it was killed. So no operator keeps a second account, and one that changes
something tomorrow is told of without being asked. Nothing is read before the task has done its work.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from airflow_model_ops.control.commit import REQUEST_LOOKBACK, head_state
from airflow_model_ops.core.errors import ModelOpsError, VersionNotFound
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import Log, Manifest, Repository
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.versioning import Version, VersionNaming
from airflow_model_ops.openlineage.datasets import (
    Dataset,
    Judged,
    PlainDataset,
    ServingDataset,
    TaskLineage,
    VersionDataset,
    origins_of,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTries:
    """The tries of a task that belong together.

    :param run: What the log's entries say of who wrote them: ``dag_id``, ``run_id``, ``task_id``, ``try``.
    :param first: The first try since a person cleared the task last.
    """

    run: Mapping[str, str]
    first: int

    def wrote(self, entry: Entry) -> bool:
        """Whether an entry comes from one of these tries."""
        theirs = entry.origin.run
        same = all(theirs.get(part) == self.run.get(part) for part in ("dag_id", "run_id", "task_id"))
        return same and int(theirs.get("try", self.first)) >= self.first


def lineage_of(
    repository: Repository,
    *,
    model: str,
    tries: TaskTries,
    named: Version | None = None,
    pushed: Version | None = None,
) -> TaskLineage:
    """Return what a task read and wrote of a model.

    :param named: The version that the task was told to act on, read even if it came to nothing.
    :param pushed: The version that the task stored, or adopted from an earlier try.
    """
    return _Account(repository=repository, model=model, tries=tries).lineage(named=named, pushed=pushed)


class _Account:
    """The newest entries of a model's log, and those among them that are the task's."""

    def __init__(self, *, repository: Repository, model: str, tries: TaskTries) -> None:
        self._repository = repository
        self._model = model
        self._log = repository.log(model)
        self._recent = _recent(self._log)
        self._own = [entry for entry in self._recent if tries.wrote(entry)]
        changes = [entry for entry in self._own if entry.is_transition]
        self._change = changes[-1] if changes else None
        self._state = self._state_after()

    def lineage(self, *, named: Version | None, pushed: Version | None) -> TaskLineage:
        """Return the datasets."""
        wanted = [named] if named else []
        wanted += [version for entry in self._own for version in self._versions_of(entry)]
        read = TaskLineage(inputs=tuple(self._version(version) for version in wanted if version != pushed))
        wrote: list[Dataset] = [self._serving(self._change)] if self._change else []
        done = read + TaskLineage(outputs=tuple(wrote))
        return self._push(pushed) + done if pushed else done

    def _push(self, version: Version) -> TaskLineage:
        dataset = replace(self._version(version), created=True)
        inputs: tuple[PlainDataset, ...] = ()
        if dataset.manifest is not None:
            inputs = tuple(origins_of(dataset.manifest, namespace=dataset.namespace))
        return TaskLineage(inputs=inputs, outputs=(dataset,))

    def _versions_of(self, entry: Entry) -> list[Version]:
        """Return the versions that an entry is about: the one it names, and what that was compared with."""
        if entry.name in {FactKind.PUSHED, FactKind.APPLIED} or entry.version is None:
            return []
        if entry.name not in {FactKind.VALIDATED, FactKind.VERDICT}:
            return [entry.version]
        state = head_state(self._log, entry) if entry.generation else None
        if state is None:
            return [entry.version]
        beside = next((each for each in state.promoted if each.name == entry.detail.get("held_back")), state.stable)
        return [entry.version, *([beside] if beside else [])]

    def _version(self, version: Version) -> VersionDataset:
        return VersionDataset(
            namespace=self._repository.uri,
            model=self._model,
            version=version,
            state=self._state,
            manifest=self._manifest(version),
            judged=self._judged(version),
        )

    def _judged(self, version: Version) -> Judged:
        judged = Judged()
        for entry in self._own:
            if entry.version == version and entry.name == FactKind.VERDICT:
                judged = replace(judged, verdict=str(entry.detail.get("verdict")), reason=entry.reason)
            elif entry.version == version and entry.name == FactKind.VALIDATED:
                judged = replace(judged, blessed=bool(entry.detail.get("blessed")), reason=entry.reason)
        return judged

    def _serving(self, change: Entry) -> ServingDataset:
        applied = (each.detail.get("generation") for each in self._recent if each.name == FactKind.APPLIED)
        return ServingDataset(
            namespace=self._repository.uri,
            model=self._model,
            state=head_state(self._log, change),
            generation=change.sequence,
            action=change.name,
            actor=str(change.origin.actor),
            reason=change.reason,
            applied=change.sequence in applied,
        )

    def _manifest(self, version: Version) -> Manifest | None:
        try:
            return self._repository.manifest(self._model, version)
        except VersionNotFound as error:
            _log.info("model=%s version=%s is told of without its digest: %s", self._model, version, error)
            return None

    def _state_after(self) -> ServingState | None:
        last = self._change or (self._recent[-1] if self._recent else None)
        return head_state(self._log, last) if last is not None and last.generation else None


def existing(repository: Repository, *, model: str, naming: VersionNaming, name: str) -> Version | None:
    """Return the version of a name if the repository knows it; a task that names none that exists has read none."""
    try:
        return repository.manifest(model, naming.parse(name)).version
    except ModelOpsError as error:
        _log.info("model=%s version=%s is left out of the task's lineage: %s", model, name, error)
        return None


def _recent(log: Log) -> Sequence[Entry]:
    """Return the newest entries, oldest first: far more than one task writes, while the whole log may be long."""
    last = log.last()
    return [] if last is None else list(log.entries(after=max(0, last.sequence - REQUEST_LOOKBACK)))
