"""What one refresh of the projection behind the list costs, in this process."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from airflow_model_ops.adapters.repository.file_names import entry_name
from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.config.model_file import load_ways_back
from airflow_model_ops.hooks.wiring import Fleet, standing_in
from airflow_model_ops.plugin.overview import Cadence, Projection
from benchmarks.page.house import House, serving

_TIMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshes:
    """Milliseconds of a refresh, of logs only.

    :param floor_ms: Of reading the files of all newest entries and nothing else.
    """

    first_ms: float
    again_ms: float
    again_cpu_ms: float
    floor_ms: float
    every_seconds: float


def measure_refreshes(house: House) -> Refreshes:
    """Refresh again and again; the median counts."""
    models = load_ways_back(house.models_dir).models
    repository = PosixRepository(house.root)
    cadence = Cadence()
    projection = Projection(models=lambda: models, cadence=cadence)
    with standing_in(Fleet(name="main", repository=repository, target=serving(repository))):
        first, _ = _refresh(projection)
        again = [_refresh(projection) for _ in range(_TIMES)]
    return Refreshes(
        first_ms=first,
        again_ms=statistics.median(wall for wall, _ in again),
        again_cpu_ms=statistics.median(cpu for _, cpu in again),
        floor_ms=statistics.median(_floor(house) for _ in range(_TIMES)),
        every_seconds=cadence.logs,
    )


def _refresh(projection: Projection) -> tuple[float, float]:
    begin, cpu = time.perf_counter(), time.process_time()
    projection.refresh()
    while projection.is_busy:
        time.sleep(0.0005)
    return 1000 * (time.perf_counter() - begin), 1000 * (time.process_time() - cpu)


def _floor(house: House) -> float:
    begin = time.perf_counter()
    for model in house.models:
        log = house.root / model / "log"
        (log / entry_name(int((log / ".newest").read_text()))).read_bytes()
    return 1000 * (time.perf_counter() - begin)
