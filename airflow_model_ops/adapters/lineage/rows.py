"""What the ledger answers: values for the command line, the page and people's own code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.protos import Stored
from airflow_model_ops.adapters.lineage.records import percent_of
from airflow_model_ops.adapters.lineage.text import unescape
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.upstream import SOURCE_KEY, UpstreamLineage, upstream_of


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One entry of a model's log, as the ledger holds it.

    :param name: The action of a transition or the kind of a fact.
    :param percent: The version's share of the traffic after it; ``None`` if the entry says nothing about it.
    :param run: The DAG run that wrote it, as ``dag_id``, ``run_id``, ``task_id``, ``try``; empty outside Airflow.
    """

    sequence: int
    generation: int
    at: str
    kind: str
    name: str
    version: str | None
    percent: float | None
    actor: str
    reason: str
    run: Mapping[str, str] = field(default_factory=dict)
    release: str | None = None
    attempt: int | None = None
    evidence: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One version as its manifest described it; what is unknown (an adopted version) is ``None`` or empty.

    :param size: Bytes.
    :param source: Where it was pushed from, without its upstream lineage.
    :param validation: What its newest validation showed: ``at``, ``blessed``, ``metrics``.
    :param online: What it showed on real traffic, by check and by what it was: the canary or stable.
    :param upstream_fault: Why its upstream lineage is missing here although its manifest has one.
    """

    version: str
    serving_number: str
    digest: str | None = None
    size: int | None = None
    created: str | None = None
    dataset_version: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    online: Mapping[str, Any] = field(default_factory=dict)
    upstream_fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One version's share of the traffic.

    :param version: Its name, or the serving number if the state does not name it.
    """

    version: str
    serving_number: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """A model's newest serving state, as far as its log is recorded; versions by name, ``None`` for none.

    :param sequence: The newest recorded entry; 0 for a model that is not recorded.
    :param at: When that entry was written, ISO 8601 in UTC; empty if there is none.
    :param versions: How many versions the ledger knows.
    """

    model: str
    sequence: int
    generation: int
    at: str
    versions: int
    stable: str | None = None
    canary: str | None = None
    golden: str | None = None
    holdback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedAt:
    """What served at a moment.

    :param split: What was confirmed last; empty if nothing was yet.
    :param changing: Whether another split was committed by then and not yet confirmed: the traffic was on its way.
    :param changing_to: That other split.
    :param because: The transition that ``split`` follows, with its actor and reason.
    :param confirmed_at: When ``split`` was confirmed, ISO 8601 in UTC.
    :param recorded: The number of the newest entry that the ledger knew when it answered.
    :param recorded_at: When that entry was written; what happened later cannot be in the answer.
    :param contradicted: How many entries' times speak against where in the log the moment lies; 0 unless clocks differed.
    """

    model: str
    at: str
    split: tuple[Share, ...]
    changing: bool
    changing_to: tuple[Share, ...] = ()
    because: HistoryRow | None = None
    confirmed_at: str | None = None
    recorded: int = 0
    recorded_at: str = ""
    contradicted: int = 0


def entry_of(stored: Stored) -> Entry:
    """Return the log entry that an execution records, from the bytes it keeps.

    :raises InvalidState: if they are missing or not an entry.
    """
    text = stored.structs.get(schema.ENTRY)
    if text is None:
        raise InvalidState(f"execution {stored.name!r} of the ledger holds no log entry; it was altered")
    return Entry.from_bytes(text.encode())


def history_row(entry: Entry) -> HistoryRow:
    """Return an entry as a row."""
    return HistoryRow(
        sequence=entry.sequence,
        generation=entry.generation,
        at=entry.at,
        kind=entry.kind.value,
        name=entry.name,
        version=entry.version.name if entry.version else None,
        percent=percent_of(entry),
        actor=str(entry.origin.actor),
        reason=entry.reason,
        run=entry.origin.run,
        release=entry.release.release if entry.release else None,
        attempt=entry.release.attempt if entry.release else None,
        evidence=entry.evidence,
        detail=entry.detail,
    )


def version_row(stored: Stored) -> VersionRow:
    """Return a ModelVersion artifact as a row."""
    strings = {key: unescape(text) for key, text in stored.properties.items()}
    structs = {key: json.loads(text) for key, text in stored.structs.items()}
    size = strings.get("size")
    source = {key: value for key, value in structs.get("source", {}).items() if key != SOURCE_KEY}
    return VersionRow(
        version=strings["version"],
        serving_number=strings["serving_number"],
        digest=strings.get("digest"),
        size=int(size) if size else None,
        created=strings.get("created"),
        dataset_version=strings.get("dataset_version"),
        hyperparameters=structs.get("hyperparameters", {}),
        metrics=structs.get("metrics", {}),
        source=source,
        validation=structs.get(schema.VALIDATION, {}),
        online=structs.get(schema.ONLINE, {}),
        upstream_fault=strings.get(schema.UPSTREAM_FAULT),
    )


def upstream_lineage(stored: Stored) -> UpstreamLineage | None:
    """Return the upstream lineage that a ModelVersion artifact keeps; ``None`` if it has none that can be read."""
    if schema.UPSTREAM_FAULT in stored.properties:
        return None
    return upstream_of(json.loads(stored.structs.get("source", "{}")))
