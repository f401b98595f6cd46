"""Measures one ledger: every question, its floor, the guide's way, and whether the answers are right."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from benchmarks.lineage import guide
from benchmarks.lineage.ledgers import WrittenLedger
from benchmarks.lineage.pipelines import upstream_of
from benchmarks.lineage.questions import PAGE, QUESTIONS, Case, Question, draw_cases
from benchmarks.lineage.timing import Timing, measure

_LONGEST_SECONDS = 20.0
"""No single measurement goes on for longer, however many repetitions it was to have."""
_GUIDE_RUNS = 3
_FRESH_RUNS = 5
_CHECKED = 40

_FRESH = """
import sys, time
begin = time.perf_counter()
from pathlib import Path
from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
LedgerQueries(LedgerSettings(path=Path(sys.argv[1]))).latest(sys.argv[2])
print(time.perf_counter() - begin)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How long a question takes.

    :param ours: As the hook does it: each call opens the store.
    :param kept_open: The same in a store that is open already.
    :param floor: The rows of the answer by plain sqlite3, the opening included.
    """

    question: Question
    ours: Timing
    kept_open: Timing
    floor: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The guide's way beside ours, for the same question.

    :param same: Whether both gave the same answer for every model that was asked about.
    """

    name: str
    theirs: Timing
    ours: Timing
    same: bool

    @property
    def ratio(self) -> float:
        """How many times slower the guide's way is."""
        return self.theirs.median / self.ours.median


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Everything about one ledger.

    :param opening: A MetadataStore opened, without anything asked.
    :param by_name: One artifact by type and name in an open MetadataStore.
    :param fresh: From a fresh process's first import to its first answer.
    :param wrong: What answers contradict the generated logs; empty if none does.
    """

    ledger: WrittenLedger
    answered: tuple[Answered, ...]
    contests: tuple[Contest, ...]
    opening: Timing
    by_name: Timing
    fresh: Timing
    wrong: tuple[str, ...]


def measure_ledger(ledger: WrittenLedger, *, repetitions: int, seed: int, fresh_runs: int = _FRESH_RUNS) -> Measured:
    """Ask everything ``repetitions`` times about random models, versions and moments."""
    cases = list(draw_cases(ledger, count=repetitions, seed=seed))
    answered = tuple(_answered(question, ledger, cases) for question in QUESTIONS)
    opening, by_name = _ml_metadata_alone(ledger.file, cases)
    return Measured(
        ledger=ledger,
        answered=answered,
        opening=opening,
        by_name=by_name,
        fresh=_fresh(ledger, runs=fresh_runs),
        wrong=tuple(contradictions(ledger, cases[:_CHECKED])),
        contests=_contests(ledger, cases[:_GUIDE_RUNS], {each.question.name: each.ours for each in answered}),
    )


class _KeptOpen(LedgerQueries):
    """Queries that open the store once."""

    def __init__(self, settings: LedgerSettings) -> None:
        super().__init__(settings)
        self._kept = LedgerStore(settings, create=False)

    def _open(self) -> LedgerStore:
        return self._kept


def _answered(question: Question, ledger: WrittenLedger, cases: list[Case]) -> Answered:
    queries, kept = LedgerQueries(ledger.settings), _KeptOpen(ledger.settings)
    return Answered(
        question=question,
        ours=_timed(lambda case: question.ask(queries, case), cases),
        kept_open=_timed(lambda case: question.ask(kept, case), cases),
        floor=_timed(lambda case: question.floor(ledger.file, case), cases),
    )


def _ml_metadata_alone(path: Path, cases: list[Case]) -> tuple[Timing, Timing]:
    store = guide.open_store(path)
    by_name = _timed(lambda case: store.get_artifact_by_type_and_name(schema.MODEL, case.model), cases)
    return _timed(lambda _: guide.open_store(path), cases), by_name


def _fresh(ledger: WrittenLedger, *, runs: int) -> Timing:
    model = ledger.models[0].source.model
    command = [sys.executable, "-c", _FRESH, str(ledger.file), model]
    done = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(runs)]
    return Timing.of(float(each.stdout) for each in done)


def contradictions(ledger: WrittenLedger, cases: list[Case]) -> list[str]:
    """Return what contradicts the generated logs."""
    queries = LedgerQueries(ledger.settings)
    wrong = []
    for each in ledger.models:
        latest = queries.latest(each.source.model)
        found = (latest.stable, latest.sequence, latest.versions)
        if found != (each.stable, each.entries, each.versions):
            wrong.append(f"{each.source.model}: {found}, not {(each.stable, each.entries, each.versions)}")
    for case in cases:
        ancestry = queries.ancestry(case.model, version=case.version)
        if ancestry.upstream != upstream_of(case.recorded.source, case.ordinal):
            wrong.append(f"{case.model} {case.version}: its ancestry is not what its pipeline wrote")
    return wrong


def _contests(ledger: WrittenLedger, cases: list[Case], timings: Mapping[str, Timing]) -> tuple[Contest, ...]:
    """Let the guide's way answer, too; last, for what it leaves in memory."""
    queries = LedgerQueries(ledger.settings)
    return (
        _contest(
            "latest stable",
            cases,
            timings,
            theirs=lambda case: guide.latest_stable(ledger.file, case.model),
            ours=lambda case: queries.latest(case.model).stable,
        ),
        _contest(
            f"newest versions ({PAGE})",
            cases,
            timings,
            theirs=lambda case: guide.newest_versions(ledger.file, case.model, limit=PAGE),
            ours=lambda case: [row.version for row in queries.versions(case.model, limit=PAGE)],
        ),
    )


def _contest(
    name: str,
    cases: list[Case],
    timings: Mapping[str, Timing],
    *,
    theirs: Callable[[Case], object],
    ours: Callable[[Case], object],
) -> Contest:
    answers: dict[Case, object] = {}

    def ask_them(case: Case) -> None:
        answers[case] = theirs(case)

    took = _timed(ask_them, cases, warm=False)
    same = all(answer == ours(case) for case, answer in answers.items())
    return Contest(name=name, theirs=took, ours=timings[name], same=same)


def _timed(call: Callable[[Case], object], cases: list[Case], *, warm: bool = True) -> Timing:
    return measure(call, cases, at_most_seconds=_LONGEST_SECONDS, warm=warm)
