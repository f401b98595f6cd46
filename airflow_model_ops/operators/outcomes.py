"""How a watched step ended, as a task hears of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from airflow_model_ops.control.step_check import StepOutcome


def body_of(outcome: StepOutcome) -> str:
    """Return what helps to decide, in Markdown."""
    verdict = outcome.verdict.value if outcome.verdict else "no verdict"
    return (
        f"**{verdict}**: {outcome.reason}\n\nThe model is on hold and the canary keeps its share of the traffic. It is "
        "watched until you answer: HARM or BREACH ends it at once, and this question with it. To let the step pass is your "
        "decision and is recorded as yours, without proof. These figures are of the first time this task asked."
    )


def check_outcome(event: Mapping[str, Any]) -> StepOutcome:
    """Return how a watched step ended, from its trigger's event.

    :raises AirflowFailException: in the trigger's words, if the release ended with it.
    """
    from airflow_model_ops.control.step_check import StepOutcome, StepResult

    if "error" in event:
        raise AirflowFailException(event["error"])
    outcome = StepOutcome.from_json(event)
    if outcome.result in {StepResult.ABORTED, StepResult.PRE_EMPTED}:
        verdict = f"{outcome.verdict.value}: " if outcome.verdict else ""
        raise AirflowFailException(f"{verdict}{outcome.reason}")
    return outcome
