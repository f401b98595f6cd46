"""The questions that are measured: what is asked of the ledger, and which rows the machine's floor reads for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.core.blast_radius import ArtifactRef
from benchmarks.lineage import floor
from benchmarks.lineage.ledgers import Recorded, WrittenLedger

PAGE = 50
COMPARED = 4
GOAL_MS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a question is asked about, drawn at random.

    :param at: A moment between the model's first push and its last one.
    :param before: A sequence number deep in the model's log.
    :param versions: Several of the model's versions.
    """

    recorded: Recorded
    at: str
    before: int
    ordinal: int
    versions: tuple[str, ...]

    @property
    def model(self) -> str:
        """The model's name."""
        return self.recorded.source.model

    @property
    def version(self) -> str:
        """One of the model's versions."""
        return self.recorded.source.version(self.ordinal).name

    @property
    def dataset(self) -> str:
        """What that version was trained on."""
        return self.recorded.source.dataset(self.ordinal).name


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query.

    :param ask: Puts it to the ledger; the answer must not be empty.
    :param floor: Reads the rows that hold the answer.
    :param goal_ms: What its median must stay below; ``None``: it is only told.
    """

    name: str
    ask: Callable[[LedgerQueries, Case], object]
    floor: Callable[[Path, Case], object]
    goal_ms: float | None = None


def draw_cases(ledger: WrittenLedger, *, count: int, seed: int) -> Iterator[Case]:
    """Draw what is asked about."""
    chance = random.Random(f"{seed}/cases")
    models = [each for each in ledger.models if each.versions >= COMPARED and each.entries > PAGE]
    if not models:
        raise ValueError(f"{ledger.versions} versions over {len(ledger.models)} models are too few; give 1,000 or more")
    for _ in range(count):
        recorded = chance.choice(models)
        ordinal = chance.randrange(recorded.versions)
        at = recorded.source.pushed_at(ordinal) + timedelta(seconds=chance.uniform(600, 3_600))
        compared = sorted(chance.sample(range(recorded.versions), COMPARED))
        yield Case(
            recorded=recorded,
            at=at.isoformat(timespec="milliseconds"),
            before=chance.randrange(PAGE + 1, recorded.entries + 1),
            ordinal=ordinal,
            versions=tuple(recorded.source.version(each).name for each in compared),
        )


def _newest_page(case: Case) -> list[str]:
    return _page(case, case.recorded.entries)


def _page(case: Case, newest: int) -> list[str]:
    return [schema.entry_key(case.model, number) for number in range(newest, max(newest - PAGE, 0), -1)]


def _version_names(case: Case, *versions: str) -> list[str]:
    return [f"{case.model}/{version}" for version in versions]


def _served_keys(case: Case) -> list[str]:
    """The two entries that hold what served: a transition, which every release of the story has, and its application."""
    return [schema.entry_key(case.model, number) for number in (case.before, case.before - 1)]


def _read_versions(path: Path, case: Case, *versions: str) -> object:
    names = _version_names(case, *versions)
    return floor.read_artifacts(path, type_name=schema.MODEL_VERSION, names=names)


def _read_executions_of_dataset(path: Path, case: Case) -> object:
    return floor.read_executions_of(path, type_name=schema.DATASET, names=[case.dataset])


QUESTIONS = (
    Question(
        name="latest stable",
        goal_ms=GOAL_MS,
        ask=lambda queries, case: _not_none(queries.latest(case.model).stable),
        floor=lambda path, case: floor.read_artifacts(path, type_name=schema.MODEL, names=[case.model]),
    ),
    Question(
        name=f"history page ({PAGE})",
        goal_ms=GOAL_MS,
        ask=lambda queries, case: queries.history(case.model, limit=PAGE)[PAGE - 1],
        floor=lambda path, case: floor.read_executions(path, external_ids=_newest_page(case)),
    ),
    Question(
        name=f"history page ({PAGE}), deep",
        ask=lambda queries, case: queries.history(case.model, limit=PAGE, before_sequence=case.before)[PAGE - 1],
        floor=lambda path, case: floor.read_executions(path, external_ids=_page(case, case.before - 1)),
    ),
    Question(
        name="state at a time",
        goal_ms=GOAL_MS,
        ask=lambda queries, case: queries.served_at(case.model, at=case.at).split[0],
        floor=lambda path, case: floor.read_executions(path, external_ids=_served_keys(case)),
    ),
    Question(
        name="ancestry of a version",
        goal_ms=GOAL_MS,
        ask=lambda queries, case: _not_none(queries.ancestry(case.model, version=case.version).upstream),
        floor=lambda path, case: _read_versions(path, case, case.version),
    ),
    Question(
        name="descendants of a version",
        ask=lambda queries, case: queries.descendants(case.model, version=case.version, limit=PAGE),
        floor=lambda path, case: floor.read_executions_of(
            path, type_name=schema.MODEL_VERSION, names=_version_names(case, case.version)
        ),
    ),
    Question(
        name=f"compare {COMPARED} versions",
        ask=lambda queries, case: queries.compare(case.model, case.versions),
        floor=lambda path, case: _read_versions(path, case, *case.versions),
    ),
    Question(
        name="blast radius of a dataset",
        ask=lambda queries, case: queries.blast_radius(ArtifactRef.parse(f"dataset:{case.dataset}")),
        floor=_read_executions_of_dataset,
    ),
    Question(
        name=f"newest versions ({PAGE})",
        ask=lambda queries, case: queries.versions(case.model, limit=PAGE)[0],
        floor=lambda path, case: _read_versions(path, case, *_newest_versions(case)),
    ),
)


def _newest_versions(case: Case) -> list[str]:
    newest = case.recorded.versions
    return [case.recorded.source.version(ordinal).name for ordinal in range(newest - 1, max(newest - PAGE, 0) - 1, -1)]


def _not_none(answer: object) -> object:
    if answer is None:
        raise LookupError("a version of the benchmark has no upstream lineage in the ledger")
    return answer
