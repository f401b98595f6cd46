"""What a store holds of a model that no log entry explains, found by reading its own ids in order, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.differences import Finding, FindingKind
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.protos import Stored
from airflow_model_ops.adapters.lineage.text import stored_string

_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What the log explains.

    :param states: Numbers of the entries that left a serving state; ``verdicts`` those that left a verdict.
    :param executions: Ids that were compared; ``artifacts`` likewise.
    """

    states: set[int] = field(default_factory=set)
    verdicts: set[int] = field(default_factory=set)
    executions: set[int] = field(default_factory=set)
    artifacts: set[int] = field(default_factory=set)


def surplus(
    store: LedgerStore, model: str, *, explained: Explained, newest: int, versions: AbstractSet[str]
) -> Iterator[Finding]:
    """Yield the executions and artifacts of the ledger's own types that name a model and that its log does not explain.

    :param newest: The number of the newest recorded entry.
    :param versions: Names of the ModelVersion artifacts there must be.
    """
    named = {
        schema.SERVING_STATE: {schema.numbered_name(model, number) for number in explained.states},
        schema.VERDICT: {schema.numbered_name(model, number) for number in explained.verdicts},
        schema.MODEL_VERSION: versions,
    }
    artifacts, executions = store.newest_ids()
    for stored in _of(model, store.executions_by_id, newest=executions, but=explained.executions):
        number = _number(stored)
        if not 0 < number <= newest or stored.external_id != schema.entry_key(model, number):
            yield _surplus("execution", stored, number)
    for stored in _of(model, store.artifacts_by_id, newest=artifacts, but=explained.artifacts):
        if stored.name not in named.get(stored.type, {stored.name}):
            yield _surplus("artifact", stored, _number(stored))


def _of(
    model: str, read: Callable[[Sequence[int]], Sequence[Stored]], *, newest: int, but: AbstractSet[int]
) -> Iterator[Stored]:
    name = stored_string(model)
    others = (number for number in range(1, newest + 1) if number not in but)
    while page := list(islice(others, _PAGE)):
        for stored in read(page):
            if stored.type.startswith(schema.PREFIX) and stored.properties.get("model") == name:
                yield stored


def _number(stored: Stored) -> int:
    digits = stored.name.rpartition("/")[2]
    return int(digits) if digits.isdecimal() else 0


def _surplus(kind: str, stored: Stored, number: int) -> Finding:
    return Finding(
        kind=FindingKind.SURPLUS,
        what=f"{kind} {stored.type} {stored.name!r}",
        where=number,
        expected="nothing: the log has no entry that explains it",
        found=f"{kind} {stored.id}",
    )
