"""Keeping quiet about models that the caller may not see where a fleet tells of all that it serves. Pure."""

from __future__ import annotations

from collections.abc import Collection

from airflow_model_ops.plugin.datamodels.base import Part
from airflow_model_ops.plugin.datamodels.models import Health, ModelRow, ObservedRow

UNTOLD = "something is wrong with the fleet; it is about a model that you may not see, so ask somebody who may"


def discreet_row(row: ModelRow, *, hidden: Collection[str]) -> ModelRow:
    """Return a row whose health names none of the hidden models."""
    return row.model_copy(update={"health": _discreet_health(row.health, hidden)}) if hidden else row


def discreet_look(observed: Part[ObservedRow], *, hidden: Collection[str]) -> Part[ObservedRow]:
    """Return what serves, or a trouble that names none of the hidden models."""
    if observed.trouble is None or not _names_one(observed.trouble.reason, hidden):
        return observed
    return observed.model_copy(update={"trouble": observed.trouble.model_copy(update={"reason": UNTOLD})})


def _discreet_health(health: Part[Health], hidden: Collection[str]) -> Part[Health]:
    if health.trouble is not None and _names_one(health.trouble.reason, hidden):
        return health.model_copy(update={"trouble": health.trouble.model_copy(update={"reason": UNTOLD})})
    if health.value is not None and _names_one(health.value.reason, hidden):
        return health.model_copy(update={"value": health.value.model_copy(update={"reason": UNTOLD})})
    return health


def _names_one(text: str | None, hidden: Collection[str]) -> bool:
    """Whether a text holds a name, also as a part of a word: names of clusters and paths begin with the model's."""
    return text is not None and any(name in text for name in hidden)
