"""What served when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from airflow_model_ops.plugin.access import Model
from airflow_model_ops.plugin.backends.openings import fleet_of
from airflow_model_ops.plugin.backends.reading import ask
from airflow_model_ops.plugin.datamodels.base import Backend
from airflow_model_ops.plugin.datamodels.history import TrafficHistory
from airflow_model_ops.plugin.history.traffic_reading import TrafficReader

router = APIRouter(tags=["history"])
_traffic = TrafficReader()


@router.get("/models/{model}/traffic")
async def read_traffic(model: Model, hours: Annotated[float, Query(gt=0, le=2160)] = 24) -> TrafficHistory:
    """Return the confirmed splits of the last hours, oldest first, from the one that served when they began."""

    def read() -> TrafficHistory:
        fleet = fleet_of(model)
        since = datetime.fromtimestamp(fleet.clock.now(), UTC) - timedelta(hours=hours)
        return _traffic.read(fleet.repository, model=model.model, naming=model.naming(), since=since)

    return await ask(Backend.REPOSITORY, read, of=model)
