"""What all questions to the ledger begin with: a model's recorded head, and entries by their numbers; one look-up a page."""

from __future__ import annotations

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.head import RecordedHead
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.protos import Stored
from airflow_model_ops.adapters.lineage.rows import entry_of
from airflow_model_ops.adapters.lineage.text import stored_name
from airflow_model_ops.core.errors import InvalidState, VersionNotFound
from airflow_model_ops.core.log import Entry


def head_of(store: LedgerStore, model: str) -> RecordedHead:
    """Return how far a model is recorded; a model that is not has an empty head."""
    stored = store.artifact(schema.MODEL, model)
    if stored is None:
        return RecordedHead(model=model)
    return RecordedHead.of(model, properties=stored.properties, structs=stored.structs)


def entries_below(store: LedgerStore, model: str, *, above: int, limit: int) -> list[Entry]:
    """Return at most ``limit`` entries below the number ``above``, newest first.

    :raises InvalidState: if one that must be there is not.
    """
    numbers = range(above - 1, max(above - 1 - limit, 0), -1)
    keys = [schema.entry_key(model, number) for number in numbers]
    entries = [entry_of(stored) for stored in store.executions_by_external_ids(keys)]
    if len(entries) != len(keys):
        raise InvalidState(
            f"the ledger lacks {len(keys) - len(entries)} of the entries {numbers[-1]} to {numbers[0]} of model {model!r}: it "
            "was altered; record the log into an empty ledger"
        )
    return sorted(entries, key=lambda entry: entry.sequence, reverse=True)


def entry_at(store: LedgerStore, model: str, sequence: int) -> Entry:
    """Return the entry with a number."""
    return entries_below(store, model, above=sequence + 1, limit=1)[0]


def transition_at(store: LedgerStore, model: str, generation: int) -> Entry | None:
    """Return the transition that a generation is the number of; ``None`` for generation 0."""
    return entry_at(store, model, generation) if generation else None


def version_at(store: LedgerStore, model: str, version: str) -> Stored:
    """Return the artifact of a version.

    :raises VersionNotFound: if the ledger knows no such version.
    """
    stored = store.artifact(schema.MODEL_VERSION, stored_name(f"{model}/{version}"))
    if stored is None:
        raise VersionNotFound(
            f"version {version!r} of model {model!r} is not in the ledger; take one that `airflow model-ops history {model}` "
            f"names, or catch up from the log first: `airflow model-ops record {model}`"
        )
    return stored
