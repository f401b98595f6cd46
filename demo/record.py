"""What the product itself wrote down, read back: the log, the kept evidence, the ledger. Nothing is asked of a running part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.control.commit import seconds_of
from airflow_model_ops.core.checks import Check, Evidence, Verdict, assess
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
        self._log = PosixRepository(root).log(file.model)

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
        """Return the end of the first interval whose kept evidence, taken alone, is beyond a limit; seconds since the epoch.

        It is the product's own judge that says so, asked about each interval by itself.

        :param verdict: The verdict that refers to the evidence file.
        """
        if verdict.evidence is None:
            return None
        kept = json.loads((self.directory / verdict.evidence).read_bytes())["evidence"]
        checks = {check.name: replace(check, consecutive=1) for check in self._file.policy().checks}
        instants = [
            item.instant.timestamp()
            for name, check in checks.items()
            for item in map(Evidence.from_json, kept.get(name, ()))
            if _is_bad(check, item)
        ]
        return min(instants, default=None)

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


def _is_bad(check: Check, evidence: Evidence) -> bool:
    verdict = assess(check, [evidence], has_stable=evidence.stable is not None).verdict
    return verdict in {Verdict.HARM, Verdict.BREACH}
