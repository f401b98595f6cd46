"""The triggers behind the sensors: a version that starts to serve, a metric that comes within its limits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_model_ops.config.model_file import ModelFile, ModelIdentity
from airflow_model_ops.config.release_parts import CheckPart
from airflow_model_ops.core.checks import Arms, Summary, Verdict, combine
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.judge.single_window import assess_window

if TYPE_CHECKING:
    from airflow_model_ops.core.ports import MetricSource, Repository
    from airflow_model_ops.core.versioning import Version

_log = logging.getLogger(__name__)


class VersionServesTrigger(BaseTrigger):
    """Fires when the log says that a version serves under a label: the head that names it is applied.

    :param version: ``None``: any version.
    """

    def __init__(self, *, model: dict[str, Any], version: str | None, label: str, poll_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.version = version
        self.label = label
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        kwargs = {
            "model": self.model,
            "version": self.version,
            "label": self.label,
            "poll_seconds": self.poll_seconds,
        }
        return "airflow_model_ops.triggers.version.VersionServesTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the log; a repository that cannot be reached is asked again."""
        from airflow_model_ops.hooks.wiring import aopen_repository_of

        model = ModelFile.model_validate(self.model)
        while True:
            await asyncio.sleep(self.poll_seconds)
            try:
                repository = await aopen_repository_of(model.connections)
                found = await asyncio.to_thread(serving_version, repository, model.model, self.label)
            except ModelOpsError as error:
                if not error.retryable:
                    raise
                _log.warning("model=%s looks again: %s", model.model, error)
                continue
            if found is not None and self.version in (None, found.name):
                yield TriggerEvent(found.to_json())
                return


def serving_version(repository: Repository, model: str, label: str) -> Version | None:
    """Return the version that serves under a label, if the head is applied."""
    from airflow_model_ops.control.heads import read_head

    head = read_head(repository.log(model))
    if head is None or head.applied_at is None:
        return None
    return head.state.labels.get(label)


class MetricTrigger(BaseTrigger):
    """Fires when a check of one version is within its absolute limits, or crosses them.

    No data, stale data and an unreachable source are no answer: it goes on asking.
    """

    def __init__(
        self, *, model: dict[str, Any], version: dict[str, str], check: dict[str, Any], poll_seconds: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.version = version
        self.check = check
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        kwargs = {
            "model": self.model,
            "version": self.version,
            "check": self.check,
            "poll_seconds": self.poll_seconds,
        }
        return "airflow_model_ops.triggers.version.MetricTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until there is an answer."""
        from airflow_model_ops.hooks.wiring import aopen_source_of

        model = ModelFile.model_validate(self.model)
        while True:
            await asyncio.sleep(self.poll_seconds)
            try:
                source = await aopen_source_of(model)
                summary = await asyncio.to_thread(measure_once, source, model, self.version, self.check)
            except ModelOpsError as error:
                yield TriggerEvent({"error": str(error)})
                return
            _log.info("verdict=%s reason=%s", summary.verdict, summary.reason)
            if summary.verdict in {Verdict.SAFE, Verdict.BREACH}:
                yield TriggerEvent(summary.to_json())
                return


def measure_once(source: MetricSource, model: ModelIdentity, version: dict[str, str], check: dict[str, Any]) -> Summary:
    """Measure and assess a check of one version once, by its absolute limits."""
    from airflow_model_ops.core.versioning import Version
    from airflow_model_ops.hooks.arms import arms_at

    question = CheckPart.model_validate(check).to_check()
    arms = Arms(canary=arms_at(model).arm(model.model, Version.from_json(version)))
    begin = time.time() - source.delay_seconds(question) - question.window_seconds
    evidence = source.gather(question, model=model.model, arms=arms, begin=begin, after=None)
    return combine([assess_window(question, evidence, subject=version["name"])])
