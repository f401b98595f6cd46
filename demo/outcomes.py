"""What the demo keeps of each part of its story, and how that becomes a row of the table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.core.state import Actor, ServingState
from airflow_model_ops.core.versioning import Version
from demo.table import ReleaseRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """A part of the client's own account."""

    sent: int
    failed: int

    def __sub__(self, earlier: Requests) -> Requests:
        return Requests(sent=self.sent - earlier.sent, failed=self.failed - earlier.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How a version was taken out of traffic; all times in seconds since the epoch, of one machine's clock.

    :param begun_by: What was first bad: `wrong answer`, `slow answer`; or `request` for a rollback by hand.
    :param begun_at: When: as the client saw it; for a rollback by hand, when it asked Airflow.
    :param evidence_at: End of the first measured interval after which the evidence spoke for harm; `None` for a rollback by hand.
    :param committed_at: When the way back was committed to the log.
    :param applied_at: When every router had confirmed it.
    :param last_answer_at: When the client got the last answer by the version.
    """

    begun_by: str
    begun_at: float
    evidence_at: float | None
    committed_at: float | None
    applied_at: float | None
    last_answer_at: float

    @property
    def seconds(self) -> float:
        """From the first bad answer, or the request, to the last answer by the version."""
        return self.last_answer_at - self.begun_at

    @property
    def seconds_from_evidence(self) -> float | None:
        """From the first interval beyond a limit to the last answer by the version."""
        return None if self.evidence_at is None else self.last_answer_at - self.evidence_at

    def in_words(self) -> str:
        """Return the moments in order."""
        moments = [
            (f"first {self.begun_by}" if self.evidence_at else "asked for", self.begun_at),
            ("first evidence of harm", self.evidence_at),
            ("way back committed", self.committed_at),
            ("confirmed by the router", self.applied_at),
            ("last answer by it", self.last_answer_at),
        ]
        known = sorted((at, what) for what, at in moments if at is not None)
        first = known[0][0]
        return ", ".join(f"{what} {_clock(at) if at == first else f'+{at - first:.2f} s'}" for at, what in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One part of the story.

    :param name: Of the training run, such as `good-1`; `rollback by hand`.
    :param run_state: How Airflow's run ended.
    :param version: What was released; for a rollback, what is stable afterwards. `None` if nothing was pushed.
    :param verdict: The last one; `None` without any.
    :param action: What became of it, in a word or two: `promoted`, `quarantined`, `aborted`, `stable again`.
    :param state: The serving state afterwards.
    :param requests: The client's requests from the end of the part before to the end of this one.
    :param actor: Who rolled back; `None` for a release.
    """

    name: str
    run_state: str
    version: Version | None
    verdict: Verdict | None
    action: str
    why: str
    state: ServingState | None
    requests: Requests
    recovery: Recovery | None = None
    median_ms: float | None = None
    actor: Actor | None = None

    def as_row(self) -> ReleaseRow:
        """Return its row of the table."""
        return ReleaseRow(
            version=f"{self.version or '-'}\n{self.name}",
            verdict=f"{self.verdict.value},\n{self.action}" if self.verdict else self.action.replace(" ", "\n", 1),
            why=self.why,
            recovery_seconds=self.recovery.seconds if self.recovery else None,
            sent=self.requests.sent,
            failed=self.requests.failed,
        )


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-4]
