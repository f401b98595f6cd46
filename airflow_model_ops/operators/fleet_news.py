"""What a reconciliation tells people: what is new of every model of its fleet, and what had drifted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import ModelFile, ModelIdentity
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.notice import Event, drift_notice
from airflow_model_ops.notifications import base_url, has_hooks, tell_news, tell_once

if TYPE_CHECKING:
    from airflow_model_ops.control.upkeep import Reconciled
    from airflow_model_ops.hooks.wiring import Fleet

DRIFT_AGAIN_SECONDS = 3_600.0
"""How often one model's drift is told while its head stays: a server that is restarted all the time is told of every hour."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetNews:
    """The models of one fleet of which somebody wants to be told, by name."""

    files: Mapping[str, ModelFile]

    @classmethod
    def of(cls, models: Mapping[str, ModelIdentity], *, place: FleetPlace) -> FleetNews:
        """Return those of some models that are at a place."""
        told = [model for model in models.values() if isinstance(model, ModelFile) and has_hooks(model)]
        return cls(files={file.model: file for file in told if file.place == place})

    @property
    def wants_drift(self) -> bool:
        """Whether anybody wants to be told of drift."""
        return any(Event.DRIFT in file.notifications.hooks for file in self.files.values())

    def tell(self, fleet: Fleet, result: Reconciled, *, origin: Origin, context: Mapping[str, Any]) -> None:
        """Tell; what goes wrong with one model is logged and stops no other."""
        for model, file in self.files.items():
            try:
                tell_news(file, repository=fleet.repository, clock=fleet.clock, context=context)
                if model in result.drifted:
                    self._tell_drift(file, fleet, result, origin=origin, context=context)
            except Exception:  # noqa: BLE001 (whatever went wrong: the fleet is reconciled)
                _log.exception("model=%s nothing can be told", model)

    def _tell_drift(
        self, file: ModelFile, fleet: Fleet, result: Reconciled, *, origin: Origin, context: Mapping[str, Any]
    ) -> None:
        from airflow_model_ops.control.heads import read_head

        head = read_head(fleet.repository.log(file.model))
        if head is None:
            return
        notice = drift_notice(
            model=file.model,
            why=result.drifted[file.model],
            mended=result.failed.get(file.model),
            head=head.entry,
            run=origin.run,
            who=str(origin.actor),
            base_url=base_url(),
        )
        tell_once(
            file,
            notice,
            repository=fleet.repository,
            clock=fleet.clock,
            again_seconds=DRIFT_AGAIN_SECONDS,
            context=context,
        )
