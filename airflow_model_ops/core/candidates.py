"""Which model of a pipeline may be released next: what the log says about the artifacts it has seen before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.exports import ExportHistory, Ruling, rule
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.upstream import upstream_of

UPSTREAM_DETAIL = "upstream"
"""The key of a ``pushed`` fact's detail that names the artifact; see :func:`artifact_key`."""


class CandidateKind(StrEnum):
    """What makes a model of a pipeline a candidate."""

    BLESSED = "blessed"
    """Its Evaluator, and its InfraValidator if it has one, gave their blessing."""
    PUSHED = "pushed"
    """Its Pusher pushed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An artifact of a pipeline that may become a version.

    :param artifact: Its id in the pipeline's store.
    :param created: When it was registered there, milliseconds since the epoch: the version is named after it.
    :param ready: Since when it is a candidate, milliseconds since the epoch: pushed, or blessed.
    :param saved_model: The directory of its SavedModel; empty if it cannot be seen from where it was looked for.
    :param pipeline: Name of its pipeline; empty if the store does not tell.
    :param run: The run that made it, as the store names it.
    :param connection: Id of the connection of the store.
    """

    kind: CandidateKind
    artifact: str
    type: str
    uri: str
    created: str
    ready: str
    saved_model: str = ""
    pipeline: str = ""
    run: str = ""
    connection: str = ""

    @property
    def key(self) -> str:
        """What tells it from any other artifact of any store; see :func:`artifact_key`."""
        return artifact_key(self.artifact, self.created)

    @property
    def created_at(self) -> str:
        """When it was registered, ISO 8601 in UTC."""
        return iso_of(self.created)

    @property
    def ready_at(self) -> float:
        """Since when it is a candidate, seconds since the epoch."""
        return int(self.ready) / 1000

    def of(self, connection: str) -> Candidate:
        """Return it with the connection it was read from."""
        return replace(self, connection=connection)

    def to_json(self) -> dict[str, str]:
        """Return the form that events and XCom carry."""
        return {
            "connection": self.connection,
            "kind": self.kind.value,
            "artifact": self.artifact,
            "type": self.type,
            "uri": self.uri,
            "saved_model": self.saved_model,
            "pipeline": self.pipeline,
            "run": self.run,
            "created": self.created,
            "created_at": self.created_at,
            "ready": self.ready,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        """Read what :meth:`to_json` gave.

        :raises InvalidState: if a part is missing or makes no sense.
        """
        try:
            texts = {name: str(data[name]) for name in cls.__slots__ if name != "kind"}
            candidate = cls(kind=CandidateKind(data["kind"]), **texts)
            int(candidate.artifact), int(candidate.created), int(candidate.ready)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidState(f"candidate of a pipeline cannot be read ({error!r}): {str(data)[:200]!r}") from error
        return candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateChoice:
    """The candidate to release, ``None`` if there is none; and why this one, or why none.

    :param directory: Where its SavedModel is, if it was looked at.
    """

    candidate: Candidate | None
    reason: str
    directory: Path | None = None


def artifact_key(artifact: str, created: str) -> str:
    """Return what tells an artifact from those of other stores, whatever the connection to its store is called."""
    return f"{artifact}/{created}"


def artifact_in(source: Mapping[str, Any]) -> str | None:
    """Return the key of the artifact that a manifest's ``source`` tells of; ``None`` for a version of no pipeline.

    :raises InvalidState: if its upstream lineage cannot be read.
    """
    lineage = upstream_of(source)
    return None if lineage is None else artifact_key(lineage.artifact, lineage.root.created)


def pushed_detail(source: Mapping[str, Any]) -> dict[str, str]:
    """Return what a ``pushed`` fact says of the artifact: whoever looks for new ones reads the log, not every manifest."""
    artifact = artifact_in(source)
    return {} if artifact is None else {UPSTREAM_DETAIL: artifact}


def iso_of(milliseconds: str) -> str:
    """Return milliseconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(int(milliseconds) / 1000, tz=UTC).isoformat(timespec="milliseconds")


def digests_of_pushed_artifacts(entries: Iterable[Entry]) -> dict[str, str]:
    """Return what became a version before: an artifact's key to the digest of its content."""
    return {
        str(entry.detail[UPSTREAM_DETAIL]): str(entry.detail["digest"])
        for entry in entries
        if entry.name == FactKind.PUSHED and UPSTREAM_DETAIL in entry.detail
    }


def rule_candidate(
    candidate: Candidate, *, pushed: Mapping[str, str], history: ExportHistory, again: bool
) -> tuple[Ruling, str]:
    """Return what is to be done with a candidate as far as the log tells, and why.

    :param pushed: As :func:`digests_of_pushed_artifacts` gives it.
    :param again: Whether one that was pushed before, and neither promoted nor refused since, is released again. A person
        may want that; what starts releases by itself must not, since that candidate has had its run.
    """
    digest = pushed.get(candidate.key)
    if digest is not None:
        ruling, why = rule(digest, history=history)
        if ruling is Ruling.RELEASE and not again:
            return Ruling.STOP, "was pushed before and has had its release"
        return ruling, why
    if history.chosen_at is not None and candidate.ready_at <= history.chosen_at:
        return Ruling.STOP, "was ready already when the newest promoted version was chosen"
    return Ruling.RELEASE, "was not pushed before"


def shown(candidate: Candidate) -> str:
    """Name a candidate in messages."""
    of = f" of pipeline {candidate.pipeline!r}" if candidate.pipeline else ""
    return f"{candidate.type} {candidate.artifact}{of} ({candidate.kind.value} model)"
