"""Airflow's required actions, where a person answers a task's question; see Airflow's human-in-the-loop.

The task that asks stays deferred, so that its trigger watches the canary meanwhile, and the question is open for as long as
it does: Airflow 3.3 offers the unanswered question of a deferred task, and hands the answer to the task as if its trigger
had fired. What that leaves to do is here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from airflow_model_ops.core.question import KEEP_WAITING, Question

NOBODY = "somebody whom Airflow does not name"
WITHDRAWN: Mapping[str, Any] = {"withdrawn": True}
"""The event of a question that somebody has made needless, by resuming the model."""
_log = logging.getLogger(__name__)


def put(question: Question, *, task: str, body: str) -> None:
    """Put a question in the name of a running task.

    Airflow 3.3 keeps one question per task and the text of the first: asked again, e.g. after the task was cleared, it only
    forgets the former answer. That is why the options name the version, and why the task compares them.

    :param task: The task instance's id.
    :param body: What helps to decide, in Markdown.
    """
    from airflow.sdk.execution_time.hitl import upsert_hitl_detail

    upsert_hitl_detail(ti_id=UUID(task), options=list(question.options), subject=question.subject, body=body, params={})


def is_answer(event: Mapping[str, Any]) -> bool:
    """Whether a task was resumed by a person's answer and not by its trigger."""
    return "chosen_options" in event


def who_answered(event: Mapping[str, Any]) -> str:
    """Return the name of the person whose answer resumed a task."""
    user = event.get("responded_by_user") or {}
    return str(user.get("name") or user.get("id") or NOBODY)


async def answer_to(task: str) -> dict[str, Any] | None:
    """Return a person's answer in the form of an event, inside a trigger; ``None`` while there is none.

    An answer resumes a deferred task by itself, unless it came before the task had deferred; and Airflow cancels the trigger
    of a task that an answer resumed as if a user had ended the task.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail

    try:
        detail = await asyncio.to_thread(get_hitl_detail_content_detail, ti_id=UUID(task))
    except AirflowRuntimeError as error:  # a cleared task has another id
        _log.warning("the question of task %s cannot be read: %s", task, error)
        return None
    user = detail.responded_by_user
    if not detail.response_received or user is None:
        return None
    return {
        "chosen_options": list(detail.chosen_options or ()),
        "responded_by_user": {"id": user.id, "name": user.name},
    }


async def withdraw(task: str) -> None:
    """Close a question that nobody need answer any longer, inside a trigger."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.hitl import update_hitl_detail_response

    try:
        await asyncio.to_thread(
            update_hitl_detail_response, ti_id=UUID(task), chosen_options=[KEEP_WAITING], params_input={}
        )
    except AirflowRuntimeError as error:  # such as an answer that was faster, and is void
        _log.warning("the question of task %s is not withdrawn: %s", task, error)
