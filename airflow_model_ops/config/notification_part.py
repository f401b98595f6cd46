"""``notifications:`` of a model's YAML file: which of Airflow's notifiers are told of what.

A notifier's class is named here and imported only by whoever sends: reading the file must load nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import Field, JsonValue, field_validator

from airflow_model_ops.config.durations import LongerThanZero
from airflow_model_ops.config.release_parts import Part
from airflow_model_ops.core.notice import Event

_CLASS = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+\Z", re.ASCII)
_LONGEST_SECONDS = 60.0


class NotifierPart(Part):
    """One entry of a hook: a subclass of Airflow's ``BaseNotifier``, and what it is made with.

    :param arguments: By name. In those that the notifier declares as templates, ``{{ message }}`` and the other names of
        :meth:`~airflow_model_ops.core.notice.Notice.to_names` stand for the message.
    """

    notifier: str = Field(json_schema_extra={"pattern": r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"})
    arguments: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("notifier")
    @classmethod
    def _is_a_class(cls, value: str) -> str:
        if not _CLASS.match(value):
            raise ValueError(
                f"{value!r} names no class; write its module and its name, such as "
                "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
            )
        return value


Notifiers = tuple[NotifierPart, ...]


class NotificationsPart(Part):
    """``notifications:`` who is told of what.

    :param timeout: Longest that a task waits for all notifiers of a message together.
    """

    on_canary_start: Notifiers = ()
    on_hold: Notifiers = ()
    on_rollback: Notifiers = ()
    on_promotion: Notifiers = ()
    on_abort: Notifiers = ()
    on_drift: Notifiers = ()
    timeout: LongerThanZero = 5.0

    @field_validator("timeout")
    @classmethod
    def _is_short(cls, value: float) -> float:
        if value > _LONGEST_SECONDS:
            raise ValueError(f"{value:g} s is too long for a task to wait for a message; write 60s or less")
        return value

    @property
    def hooks(self) -> Mapping[Event, Notifiers]:
        """The notifiers of each event that has some."""
        found: dict[Event, Notifiers] = {event: getattr(self, f"on_{event.value}") for event in Event}
        return {event: notifiers for event, notifiers in found.items() if notifiers}
