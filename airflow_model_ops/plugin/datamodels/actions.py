"""What a person may ask for, what it would do, and how far it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from airflow_model_ops.core.plain_text import plain_text
from airflow_model_ops.plugin.datamodels.base import Answer, Share, Told, Wish

Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=1000), AfterValidator(plain_text)
]
VersionName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(plain_text)
]


class RollbackWish(Wish):
    """Take the model back."""

    to: VersionName = "previous"
    """``previous``, ``golden``, or a version's name."""
    reason: Reason
    seen: int | None = Field(default=None, ge=1, le=10**15)
    """``generation`` of the preview that the caller has seen: with ``previous``, nothing is done if the model was taken back
    since then. ``None``: the state when the run begins."""


class PinWish(Wish):
    """Pin the golden version."""

    version: VersionName | None = None
    """``None``: the version that is stable now."""


class HoldWish(Wish):
    """Stop shifts and promotions."""

    reason: Reason


class ResumeWish(Wish):
    """End a hold."""

    reason: Reason


class AbortWish(Wish):
    """End the live release."""

    reason: Reason


class LiftWish(Wish):
    """End a version's quarantine."""

    version: VersionName
    reason: Reason


class QuarantineWish(Wish):
    """Ban a version."""

    version: VersionName
    reason: Reason
    force: bool = False
    """Also the only one that serves."""


class Preview(Answer):
    """What a rollback would do, if it were asked for now. Nothing is changed."""

    to: str
    generation: int | None
    """The head that it was foreseen from; ``None``: there is none."""
    possible: bool
    why_not: str | None
    target: str | None
    """The version that would be stable."""
    before: list[Share]
    after: list[Share]
    ends_release: bool
    warm: bool | None
    """Whether the target is loaded on every server that answers, so that it takes seconds; ``None``: the fleet was not asked
    in time."""
    sentences: list[str]
    """What would happen, for people."""


class Started(Answer):
    """The DAG run that carries out an action."""

    dag_id: str
    run_id: str


class Progress(Answer):
    """How far an action's DAG run is."""

    dag_id: str
    run_id: str
    state: str
    """Of the run: ``queued``, ``running``, ``success`` or ``failed``."""
    done: bool
    """Whether the wish is fulfilled, or cannot be any more; the run may still be recording."""
    succeeded: bool | None
    message: Told
    """What happened, or why it was refused."""
    generation: int | None


class PageContext(Answer):
    """Which model a DAG, a run or a task of Airflow is about, for the tabs on their pages."""

    model: str | None
    """``None``: about none, or none that the caller may see."""
    release: str | None
    """The release that a run is."""
