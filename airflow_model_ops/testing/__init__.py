"""In-memory fakes of the ports, for tests of your own DAGs and of this package.

They keep the promises of the real ones: log entries and manifests go through their stored bytes, a number in a log is
given once, a version's name is used once, and a pass of the target never waits.

>>> clock = ManualClock()
>>> repository, target = InMemoryRepository(), InMemoryTarget(load_passes=2)
>>> repository.models(), target.document_generations()
((), {})
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_model_ops.testing.clock import ManualClock
from airflow_model_ops.testing.log import InMemoryFleetStore, InMemoryLog
from airflow_model_ops.testing.repository import InMemoryRepository
from airflow_model_ops.testing.target import InMemoryTarget

__all__ = ["InMemoryFleetStore", "InMemoryLog", "InMemoryRepository", "InMemoryTarget", "ManualClock"]

if TYPE_CHECKING:  # the type checker proves that the fakes fit the ports
    from airflow_model_ops.core.ports import Clock, Repository, Target

    _REPOSITORY: Repository = InMemoryRepository()
    _TARGET: Target = InMemoryTarget()
    _CLOCK: Clock = ManualClock()
