"""How far a model's log is recorded: kept on its Model artifact and written with each entry, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.records import Node, labels_of
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.state import CANARY, STABLE
from airflow_model_ops.core.versioning import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedHead:
    """The newest recorded entry of a model, and what follows from all recorded ones.

    :param versions: How many versions the ledger knows; the newest one has this ordinal.
    :param labels: Fleet and labels of the newest recorded serving state, as string properties.
    """

    model: str
    sequence: int = 0
    digest: str = ""
    generation: int = 0
    versions: int = 0
    at: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def serving(self) -> tuple[Version, ...]:
        """Stable and canary of the newest recorded serving state, if it has them."""
        return tuple(
            Version(name=self.labels[label], number=int(self.labels[f"{label}_number"]))
            for label in (STABLE, CANARY)
            if label in self.labels
        )

    def after(self, entry: Entry, *, new_versions: int) -> RecordedHead:
        """Return the head once ``entry`` is recorded."""
        return RecordedHead(
            model=self.model,
            sequence=entry.sequence,
            digest=entry.digest,
            generation=entry.generation,
            versions=self.versions + new_versions,
            at=entry.at,
            labels=labels_of(entry.state) if entry.state else self.labels,
        )

    def node(self) -> Node:
        """Return the Model artifact that says so."""
        properties = {
            schema.RECORDED_SEQUENCE: str(self.sequence),
            "recorded_digest": self.digest,
            "generation": str(self.generation),
            "versions": str(self.versions),
            "at": self.at,
            **self.labels,
        }
        return Node(type=schema.MODEL, name=self.model, properties=properties)

    @classmethod
    def of(cls, model: str, properties: Mapping[str, str]) -> RecordedHead:
        """Read the properties of a Model artifact.

        :raises InvalidState: if they are not what :meth:`node` writes.
        """
        left = dict(properties)
        try:
            return cls(
                model=model,
                sequence=int(left.pop(schema.RECORDED_SEQUENCE)),
                digest=left.pop("recorded_digest"),
                generation=int(left.pop("generation")),
                versions=int(left.pop("versions")),
                at=left.pop("at"),
                labels=left,
            )
        except (KeyError, ValueError) as error:
            raise InvalidState(
                f"the ledger's artifact of model {model!r} was altered ({error!r}): {dict(properties)!r}; record the log "
                "into an empty ledger"
            ) from error
