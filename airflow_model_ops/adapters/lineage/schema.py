"""The ledger's own types in ML Metadata: names and properties as data, without importing ml_metadata.

Types of others (TFX, Kubeflow Pipelines) may live in the same store; nothing here reads or alters them. All properties are
strings, numbers too: integer columns are 32 bits wide on PostgreSQL and MySQL, and a serving number has 14 digits. JSON is
kept as text inside STRUCT values, which ML Metadata stores in base64.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.transitions import Action

PREFIX = "airflow_model_ops."

MODEL = f"{PREFIX}Model"
"""Artifact: a model, its newest labels and how far its log is recorded. Also the context of everything about it."""
MODEL_VERSION = f"{PREFIX}ModelVersion"
"""Artifact: one version with what its manifest knows."""
SERVING_STATE = f"{PREFIX}ServingState"
"""Artifact: the serving state after one transition; named by its generation."""
VERDICT = f"{PREFIX}Verdict"
"""Artifact: the answer of one step's checks. Also the execution that gave it."""
UPSTREAM = f"{PREFIX}Upstream"
"""Artifact: an artifact of somebody else's pipeline that a version was made from, as it was when the version was pushed.

Never changed once stored: its name holds a digest of all that is kept of it, so whoever records it first stores the same.
"""
DATASET = f"{PREFIX}Dataset"
"""Artifact: a version of a dataset, as manifests name it. Shared by all models."""
SHARED = frozenset({UPSTREAM, DATASET})
"""Artifacts that several models' writers may make at the same moment."""
RELEASE = f"{PREFIX}Release"
"""Context: everything that one release did, all its attempts."""
DAG_RUN = f"{PREFIX}DagRun"
"""Context: everything that one DAG run did."""

EXECUTION_TYPES: dict[str, str] = {
    Action.START_CANARY: f"{PREFIX}CanaryStep",
    Action.SHIFT: f"{PREFIX}CanaryStep",
    Action.PROMOTE: f"{PREFIX}Promote",
    Action.ABORT: f"{PREFIX}Abort",
    Action.ROLLBACK: f"{PREFIX}Rollback",
    Action.PIN_GOLDEN: f"{PREFIX}Pin",
    Action.QUARANTINE: f"{PREFIX}Quarantine",
    Action.LIFT: f"{PREFIX}Lift",
    Action.HOLD: f"{PREFIX}Hold",
    Action.RESUME: f"{PREFIX}Resume",
    Action.RETIRE: f"{PREFIX}Retire",
    Action.ADOPT: f"{PREFIX}Adopt",
    Action.END_HOLD_BACK: f"{PREFIX}EndHoldBack",
    FactKind.PUSHED: f"{PREFIX}Push",
    FactKind.VALIDATED: f"{PREFIX}Validate",
    FactKind.VERDICT: VERDICT,
    FactKind.APPLIED: f"{PREFIX}Applied",
    FactKind.RETIRED: f"{PREFIX}Retired",
}
"""The execution type of each action of a transition and each kind of fact."""

STRUCT_KEY = "json"
"""The one key of every STRUCT value; its value is JSON text."""
ENTRY = "entry"
"""The STRUCT property of an execution that holds the log entry's stored bytes as text: nothing of it is lost here."""
RECORDED = "recorded"
"""The STRUCT property of a Model artifact that says how far the log is recorded; written with each entry, in one transaction.

One property, not several: PostgreSQL updates each in a row of its own, in no fixed order, and writers would deadlock.
"""

UPSTREAM_FAULT = "upstream_fault"
"""The property of a ModelVersion whose manifest holds an upstream lineage that cannot be read; it says so."""
VALIDATION, ONLINE = "validation", "online"
"""STRUCT properties of a ModelVersion that grow with the log: what it showed on the examples, and on real traffic."""

UPSTREAM_ROLE, ANCESTOR_ROLE, DATASET_ROLE, FOREIGN_ROLE = "upstream", "ancestor", "dataset", "model"
COMPARED_ROLE = "compared"
"""Roles of what a Push read. ``upstream``: the pushed artifact (index 0), and the model that a Pusher made it of; ``ancestor``:
what led to it (1 and on); ``compared``: models it was only compared with; the dataset version; and the very artifact of the
pipeline if this store is the pipeline's own."""
SOURCE_ROLES = frozenset({UPSTREAM_ROLE, ANCESTOR_ROLE, COMPARED_ROLE, DATASET_ROLE})
"""Those of artifacts of the ledger's own types."""

LONGEST_NAME = 255
"""In bytes. Names and external ids are VARCHAR(255) on PostgreSQL and MySQL; MySQL is told that every byte is a character."""

LONGEST_STRUCT = 1800
"""In bytes of text; a longer one goes on in custom properties. ML Metadata keeps a STRUCT in base64 as a string, PostgreSQL has all
strings in an index, and a row of that takes 2,704 bytes. Source: measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeSpec:
    """One type: its name, its string properties and its STRUCT properties."""

    name: str
    strings: tuple[str, ...]
    structs: tuple[str, ...] = ()


_LABELS = (
    "fleet",
    "stable",
    "stable_number",
    "canary",
    "canary_number",
    "canary_percent",
    "golden",
    "holdback",
    "holdback_number",
    "holdback_percent",
)

ARTIFACTS = (
    TypeSpec(name=MODEL, strings=_LABELS, structs=(RECORDED,)),
    TypeSpec(
        name=MODEL_VERSION,
        strings=("model", "version", "serving_number", "digest", "size", "created", "dataset_version", UPSTREAM_FAULT),
        structs=("hyperparameters", "metrics", "source", VALIDATION, ONLINE),
    ),
    TypeSpec(
        name=SERVING_STATE,
        strings=("model", "generation", "at", *_LABELS),
    ),
    TypeSpec(
        name=VERDICT,
        strings=("model", "version", "serving_number", "verdict", "reason", "evidence", "at"),
        structs=("detail",),
    ),
    TypeSpec(name=UPSTREAM, strings=("connection", "artifact_id", "type", "name", "created"), structs=("properties",)),
    TypeSpec(name=DATASET, strings=("dataset_version",)),
)

EXECUTIONS = tuple(
    TypeSpec(
        name=name,
        strings=(
            "model",
            "sequence",
            "generation",
            "kind",
            "name",
            "at",
            "reason",
            "actor_kind",
            "actor",
            "version",
            "serving_number",
            "percent",
            "release",
            "attempt",
            "dag_id",
            "run_id",
            "task_id",
            "try",
            "request",
            "evidence",
            "write_id",
            "digest",
            "previous_digest",
        ),
        structs=(ENTRY,),
    )
    for name in sorted(set(EXECUTION_TYPES.values()))
)

CONTEXTS = (
    TypeSpec(name=MODEL, strings=("model",)),
    TypeSpec(name=RELEASE, strings=("model", "release")),
    TypeSpec(name=DAG_RUN, strings=("dag_id", "run_id")),
)


def entry_key(model: str, sequence: int) -> str:
    """Return the external id of the execution that records a log entry, the same whatever its type.

    External ids are unique and indexed, so that this is the idempotency key and the way to any entry in one lookup.
    """
    return f"{PREFIX}{model}/entry/{sequence:020d}"


def version_key(model: str, ordinal: int) -> str:
    """Return the external id of the n-th version of a model that the ledger learned of, from 1."""
    return f"{PREFIX}{model}/version/{ordinal:020d}"


def numbered_name(model: str, number: int) -> str:
    """Return the name of what is numbered within a model: an entry's execution, a serving state, a verdict."""
    return f"{model}/{number:020d}"


def upstream_key(connection: str, artifact_id: str, ordinal: int) -> str:
    """Return the external id of the n-th Upstream artifact that stands for one id of a pipeline's store, from 1.

    There is a second one if the artifact had changed there when a later version was pushed, or the store was made anew and
    gave out the id again. So everything that an id stands for is found in one look-up of a page of ordinals.
    """
    where = hashlib.sha256(f"{connection}\0{artifact_id}".encode(errors="backslashreplace")).hexdigest()
    return f"{PREFIX}upstream/{where}/{ordinal:06d}"


def upstream_keys(key: str, *, first: int, count: int) -> list[str]:
    """Return the keys that :func:`upstream_key` gives for the same artifact and a row of ordinals."""
    where = key.rpartition("/")[0]
    return [f"{where}/{ordinal:06d}" for ordinal in range(first, first + count)]
