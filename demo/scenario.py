"""The demo's story: releases good and bad, and a person who takes the model back, all through Airflow's REST API."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_model_ops.control.commit import seconds_of
from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.core.versioning import Version
from demo.airflow_rest import FINAL_RUN_STATES, AirflowRest, wait_until
from demo.narrator import Narrator, news_of
from demo.outcomes import Outcome, Recovery, Requests
from demo.record import Record
from demo.stack import Stack

MODEL = "digits"
RELEASE_DAG = f"model_release_{MODEL}"
ROLLBACK_DAG, GOLDEN_DAG = "model_rollback", "model_pin_golden"
DAGS = (RELEASE_DAG, ROLLBACK_DAG, GOLDEN_DAG, "model_watch", "model_housekeeping")
ROLLBACK_REASON = "a customer reports odd digits"

_RUN_SECONDS = 240.0
_LOOK_SECONDS = 0.7
_ACCOUNT_SECONDS = 15.0


class Scenario:
    """Plays the story on a running stack and keeps what happened.

    :param trained: Directory of the exported models.
    """

    def __init__(self, *, stack: Stack, record: Record, trained: Path, tell: Narrator) -> None:
        self._stack = stack
        self._record = record
        self._trained = trained
        self._tell = tell
        self._told = 0
        self._accounted = Requests(sent=0, failed=0)
        self.account: dict[str, Any] = {}
        """The client's account at the end of the newest part."""
        self.outcomes: dict[str, Outcome] = {}

    @property
    def _rest(self) -> AirflowRest:
        return self._stack.airflow.rest

    def switch_on(self) -> None:
        """Wait until Airflow knows the DAGs, and let the scheduler run them."""
        rest = self._rest
        for dag_id in DAGS:
            rest.wait_for_dag(dag_id)
            rest.unpause(dag_id)

    def release(self, name: str) -> Outcome:
        """Release a trained model and see how it ends."""
        training = json.loads((self._trained / f"{name}.json").read_text(encoding="utf-8"))
        run_id, run_state = self._run(RELEASE_DAG, {"saved_model": str(self._trained / name), **training})
        version, verdicts = self._record.pushed_in(run_id), self._record.verdicts_of(run_id)
        account = self._fresh_account()
        state = self._record.state
        tally = account["by_version"].get(str(version.number), {}) if version else {}
        outcome = Outcome(
            name=name,
            run_state=run_state,
            version=version,
            verdict=Verdict(verdicts[-1].detail["verdict"]) if verdicts else None,
            action=_action(version, state),
            why=_why(verdicts, version=version),
            state=state,
            requests=self._requests(account),
            recovery=self._recovery_of_release(run_id, verdicts, tally),
            median_ms=tally["latency_ms"]["p50"] if tally else None,
        )
        return self._keep(outcome)

    def pin_golden(self) -> str:
        """Pin the stable version as the known-good one; return how the run ended."""
        return self._run(GOLDEN_DAG, {"model": MODEL})[1]

    def roll_back_by_hand(self) -> Outcome:
        """Take the model back to golden, as a person would, over REST."""
        before = self._record.state
        left = before.stable if before else None
        asked_at = time.time()
        run_id, run_state = self._run(ROLLBACK_DAG, {"model": MODEL, "target": "golden", "reason": ROLLBACK_REASON})
        account, state = self._fresh_account(), self._record.state
        rollback = self._record.transition_of(run_id, Action.ROLLBACK)
        outcome = Outcome(
            name="rollback",
            run_state=run_state,
            version=state.stable if state else None,
            verdict=None,
            action="stable again",
            why=f"{rollback.origin.actor} asked over REST: {ROLLBACK_REASON}" if rollback else "nothing was committed",
            state=state,
            requests=self._requests(account),
            recovery=self._recovery_by_hand(rollback, asked_at=asked_at, left=left, account=account),
            actor=rollback.origin.actor if rollback else None,
        )
        return self._keep(outcome)

    def _keep(self, outcome: Outcome) -> Outcome:
        self.outcomes[outcome.name] = outcome
        return outcome

    def _run(self, dag_id: str, conf: Mapping[str, Any]) -> tuple[str, str]:
        """Trigger a DAG, tell what is written to the log meanwhile, and return the run's id and final state."""
        run_id = self._rest.trigger(dag_id, conf=conf)

        def ended() -> str | None:
            state = self._rest.run_state(dag_id, run_id)
            self._tell_news()
            return state if state in FINAL_RUN_STATES else None

        def stuck() -> str:
            return f"{dag_id} did not end within {_RUN_SECONDS:g} s; {self._rest.describe(dag_id, run_id)}"

        return run_id, wait_until(ended, timeout=_RUN_SECONDS, otherwise=stuck, every=_LOOK_SECONDS)

    def _tell_news(self) -> None:
        for entry in self._record.entries(after=self._told):
            self._told = entry.sequence
            if news := news_of(entry):
                self._tell.line(news)

    def _fresh_account(self) -> dict[str, Any]:
        """Wait for an account that was written after now, so that it holds every answer up to now."""
        now, file = time.time(), self._stack.work / "traffic.json"
        wait_until(
            lambda: file.exists() and file.stat().st_mtime > now,
            timeout=_ACCOUNT_SECONDS,
            otherwise=lambda: f"the traffic has stopped:\n{self._stack.log_tail('traffic')}",
        )
        self.account = self._stack.traffic()
        return self.account

    def _requests(self, account: Mapping[str, Any]) -> Requests:
        """Return the requests since the last time this was asked; so the parts of the story leave none out."""
        now = Requests(sent=account["sent"], failed=account["failed"])
        since, self._accounted = now - self._accounted, now
        return since

    def _recovery_of_release(self, run_id: str, verdicts: list[Entry], tally: Mapping[str, Any]) -> Recovery | None:
        abort = self._record.transition_of(run_id, Action.ABORT)
        if abort is None or not verdicts or not tally:
            return None
        by_labels = _why(verdicts, version=None).startswith("wrong_predictions")
        wrong = by_labels and tally["first_wrong_at"] is not None
        return Recovery(
            begun_by="wrong answer" if wrong else "slow answer",
            begun_at=tally["first_wrong_at"] if wrong else tally["first_at"],
            evidence_at=self._record.first_bad_evidence_at(verdicts[-1]),
            committed_at=seconds_of(abort.at),
            applied_at=self._record.applied_at(abort),
            last_answer_at=tally["last_at"],
        )

    def _recovery_by_hand(
        self, rollback: Entry | None, *, asked_at: float, left: Version | None, account: Mapping[str, Any]
    ) -> Recovery | None:
        if rollback is None or left is None:
            return None
        return Recovery(
            begun_by="request",
            begun_at=asked_at,
            evidence_at=None,
            committed_at=seconds_of(rollback.at),
            applied_at=self._record.applied_at(rollback),
            last_answer_at=account["by_version"][str(left.number)]["last_at"],
        )


def _action(version: Version | None, state: ServingState | None) -> str:
    """Say what became of a released version."""
    if version is None or state is None:
        return "not released"
    if state.stable == version:
        return "promoted"
    return "quarantined" if version in state.quarantined else "aborted"


def _why(verdicts: list[Entry], *, version: Version | None) -> str:
    """Return the last verdict's reason, without the name that stands beside it; in short for a good one."""
    if not verdicts:
        return "no step was judged; see the run's log in Airflow"
    last = verdicts[-1]
    if last.detail["verdict"] == Verdict.SAFE:
        return f"every check shown safe in {len(verdicts)} step{'s' if len(verdicts) > 1 else ''}"
    reason = last.reason.removeprefix(f"{last.detail['verdict']}: ")
    return reason.replace(f" of {version}", "") if version else reason
