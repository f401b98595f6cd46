"""What the product itself wrote down, read back: the log, the kept evidence, the ledger. Nothing is asked of a running part."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.control.commit import seconds_of
from airflow_model_ops.control.evidence_book import EvidenceBook
from airflow_model_ops.core.checks import Assessment
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.core.versioning import Version

_LEDGER_PAGE = 100


class Record:
    """The written record of one model.

    :param root: Of the repository.
    :param ledger: The SQLite file of ML Metadata.
    """

    def __init__(self, file: ModelFile, *, root: Path, ledger: Path) -> None:
        self._file = file
        self._ledger = ledger
        self.directory = root / file.model
        self._repository = PosixRepository(root)
        self._log = self._repository.log(file.model)

    def entries(self, *, after: int = 0) -> list[Entry]:
        """Return the log's entries above a number, oldest first.

        :raises InvalidState: if the chain of digests is broken.
        """
        return list(self._log.entries(after=after))

    def of_run(self, run_id: str) -> list[Entry]:
        """Return what the tasks and triggers of a DAG run wrote, oldest first."""
        return [entry for entry in self.entries() if entry.origin.run.get("run_id") == run_id]

    @property
    def state(self) -> ServingState | None:
        """The newest serving state; ``None`` before the first transition."""
        states = [entry.state for entry in self.entries() if entry.state is not None]
        return states[-1] if states else None

    def pushed_in(self, run_id: str) -> Version | None:
        """Return the version that a run pushed."""
        pushed = [entry.version for entry in self.of_run(run_id) if entry.name == FactKind.PUSHED]
        return pushed[0] if pushed else None

    def verdicts_of(self, run_id: str) -> list[Entry]:
        """Return the verdicts of a release's steps, in order."""
        return [entry for entry in self.of_run(run_id) if entry.name == FactKind.VERDICT]

    def transition_of(self, run_id: str, action: Action) -> Entry | None:
        """Return the first transition of a kind that a run committed."""
        return next((entry for entry in self.of_run(run_id) if entry.action is action), None)

    def applied_at(self, entry: Entry) -> float | None:
        """Return when a transition was confirmed to serve, in seconds since the epoch."""
        for later in self.entries(after=entry.sequence):
            if later.name == FactKind.APPLIED and later.generation >= entry.generation:
                return seconds_of(later.at)
        return None

    def first_bad_evidence_at(self, verdict: Entry) -> float | None:
        """Return the end of the first interval after which the evidence spoke for harm; seconds since the epoch.

        It is the product's own judge that says so, replayed interval by interval.

        :param verdict: The verdict that ended the release.
        """
        if verdict.release is None:
            return None
        book = EvidenceBook(self._repository, model=self._file.model, fence=verdict.release)
        if book.load() is None:
            return None
        judge = book.opening.judge()
        for entry in islice(book.entries(), int(verdict.detail["taken_in"])):
            entry.apply(judge)
            if any(map(_speaks_for_harm, judge.summary(subject="the canary").assessments)):
                return max(item.instant.timestamp() for item in entry.evidence)
        return None

    def recorded(self) -> int:
        """Return how many entries of the log ML Metadata holds."""
        return sum(1 for _ in self._ledger_rows())

    def _ledger_rows(self) -> Iterator[int]:
        from airflow_model_ops.adapters.lineage.queries import LedgerQueries  # noqa: PLC0415 - imports ml_metadata
        from airflow_model_ops.adapters.lineage.settings import LedgerSettings  # noqa: PLC0415

        queries = LedgerQueries(LedgerSettings(path=self._ledger))
        before: int | None = None
        while page := queries.history(self._file.model, limit=_LEDGER_PAGE, before_sequence=before):
            yield from (row.sequence for row in page)
            before = page[-1].sequence


def _speaks_for_harm(assessment: Assessment) -> bool:
    log_harm = assessment.numbers.get("log_harm")
    return assessment.decides and (assessment.suspicious or (log_harm is not None and log_harm > 0))
