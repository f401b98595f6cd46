"""The list of models, and what one model serves."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from airflow_model_ops.plugin.datamodels.base import Answer, Event, Part, RunLink, Share, Told, Who


class Traffic(StrEnum):
    """Whether the fleet follows the head."""

    NONE = "none"
    """Nothing was ever released or adopted."""
    CHANGING = "changing"
    APPLIED = "applied"


class CheckRow(Answer):
    """What one check says of a canary."""

    check: str
    verdict: str
    reason: Told
    decides: bool
    """Whether it counts in the canary's verdict; a muted one is only shown."""


class CanaryRow(Answer):
    """A canary and what is known of it so far."""

    version: str
    percent: float
    verdict: str | None
    """The newest verdict of this attempt, such as ``UNDECIDED``; ``None`` before the first."""
    reason: Told | None
    """The judge's sentence: those of the checks that decided it, or why there is no verdict."""
    checks: list[CheckRow]
    """What each check says; empty before the first verdict, and where it cannot be read."""
    judged_at: datetime | None


class HoldRow(Answer):
    """Who stopped shifts and promotions, and why."""

    by: str
    by_person: bool
    reason: Told


class Health(Answer):
    """Whether a fleet's servers and routers answer."""

    answering: int
    servers: int
    reason: Told | None
    """What is wrong; ``None``: all answer."""


class ModelRow(Answer):
    """One model in the list: from the cached projection, as old as the list says."""

    model: str
    fleet: str | None
    platform: str
    """``tf_serving`` or ``vertex_ai``."""
    stable: str | None
    stable_since: datetime | None
    """When it became stable, by the log."""
    split: list[Share]
    canary: CanaryRow | None
    hold_back: Share | None
    golden: str | None
    quarantined: int
    """How many versions are."""
    hold: HoldRow | None
    last_event: Event | None
    """The newest entry of the log; not that a change was applied, but the change."""
    traffic: Traffic
    live: bool
    """Whether something is going on: a release, a change not yet applied, a version held back."""
    drift: str | None
    """How what serves differs from what should; ``None``: it does not, or was not looked at yet."""
    health: Part[Health]
    """Of its fleet; neither value nor trouble: it was not looked at yet."""
    trouble: str | None
    """Why this model's log cannot be read; what else the row says is then older, or empty."""


class ModelList(Answer):
    """All models that the caller may see."""

    models: list[ModelRow]
    age_seconds: float | None
    """How old the oldest row is; ``None`` while nothing was read yet."""
    complete: bool
    """Whether every model was read at least once."""
    mistakes: int
    """How many YAML files have mistakes; Airflow's import errors tell them."""


class Head(Answer):
    """The newest transition: what should serve, and who wanted it."""

    generation: int
    at: datetime
    action: str
    reason: Told
    who: Who
    run: RunLink | None
    applied_at: datetime | None


class LiveReleaseRow(Answer):
    """The release that may change traffic now."""

    id: str
    attempt: int
    version: str
    started_at: datetime
    run: RunLink | None
    steps: list[float]
    """The traffic percents of its policy; empty where the YAML file cannot be read."""


class ServerRow(Answer):
    """One model server as it answers now."""

    name: str
    answers: bool
    loaded: list[str]


class ObservedRow(Answer):
    """What really serves, asked just now."""

    generation: int | None
    split: list[Share]
    servers: list[ServerRow]
    labels: dict[str, str | None]
    """Label to version, as the servers resolve it."""


class Offer(Answer):
    """An action, whether the caller may do it, and whether it makes sense now."""

    action: str
    """``rollback``, ``pin``, ``hold``, ``resume``, ``abort``, ``lift`` or ``quarantine``."""
    allowed: bool
    """Whether the caller's permissions allow it."""
    why_not: Told | None
    """Why it makes no sense now, or is not allowed; ``None``: it may be done."""
    dag_id: str
    """The DAG that a run is made of."""


class ModelAnswer(Answer):
    """One model: read from its log just now."""

    row: ModelRow
    head: Head | None
    earlier: list[str]
    """Versions that were stable before, newest first."""
    quarantined: list[str]
    release: LiveReleaseRow | None
    release_dag: str
    """The DAG that releases this model."""
    observed: Part[ObservedRow]
    offers: list[Offer]
    user: str
    """Who is signed in, in whose name an action is done."""
