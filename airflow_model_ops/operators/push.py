"""Push: store a SavedModel as a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_model_ops.core.ports import Manifest, PushRequest
from airflow_model_ops.operators.base import ModelOperator, release_id

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.control.model_control import ModelControl


class PushModelOperator(ModelOperator):
    """Store a SavedModel directory as a new version of the model.

    A retried or cleared task adopts its own first try: the name comes from the run's fixed time. Returns ``version``
    (its name), ``number`` (its serving number, a string), ``digest`` and ``size``; pushes the XCom ``version_id`` too.

    :param saved_model: The directory; when it renders empty, the newest complete export of ``source.export_dir`` that was
        neither promoted nor quarantined is taken, and the task is skipped if there is none. (templated)
    :param version: Name of the version; empty: named after the run's time. Semantic versions need one. (templated)
    :param dataset_version: Which data it was trained on. (templated)
    :param hyperparameters: What it was trained with. (templated)
    :param metrics: Its offline metrics, name to number. (templated)
    """

    template_fields: Sequence[str] = (
        "choose",
        "saved_model",
        "version",
        "dataset_version",
        "hyperparameters",
        "metrics",
    )

    def __init__(
        self,
        *,
        saved_model: str | None = None,
        version: str | None = None,
        dataset_version: str | None = None,
        hyperparameters: Mapping[str, Any] | str | None = None,
        metrics: Mapping[str, float] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.saved_model = saved_model
        self.version = version
        self.dataset_version = dataset_version
        self.hyperparameters = hyperparameters
        self.metrics = metrics

    def act(self, context: Context) -> dict[str, str]:
        """Push and return the version."""
        control = self.control(context)
        run = context["dag_run"]
        manifest = None if self.saved_model else control.pushed_in_run(run.dag_id, run.run_id)
        if manifest is None:
            manifest = self._push(control, dag_id=run.dag_id, run_id=run.run_id, created=run.run_after)
        self.note(control, pushed=manifest.version)
        self.log.info("model=%s pushed version=%s digest=%s", control.model, manifest.version, manifest.digest)
        context["ti"].xcom_push(key="version_id", value=manifest.version.name)
        return {
            "version": manifest.version.name,
            "number": str(manifest.version.number),
            "digest": manifest.digest,
            "size": str(manifest.size),
        }

    def _push(self, control: ModelControl, *, dag_id: str, run_id: str, created: datetime) -> Manifest:
        directory = Path(self.saved_model) if self.saved_model else self._newest_export()
        request = PushRequest(
            directory=directory,
            created=created.astimezone(UTC).isoformat(),
            source={"path": str(directory), "run": release_id(dag_id, run_id)},
            dataset_version=self.dataset_version or None,
            hyperparameters=_mapping(self.hyperparameters, "hyperparameters"),
            metrics=_numbers(_mapping(self.metrics, "metrics")),
        )
        return control.push(request, name=self.version or None)

    def _newest_export(self) -> Path:
        from airflow_model_ops.adapters.repository.exports import complete_exports
        from airflow_model_ops.control.clock import SystemClock
        from airflow_model_ops.control.exports import newest_export

        source = self.model_file.source
        if source is None:
            raise AirflowFailException(
                f"nothing to release: the run names no saved_model and {self.model_file.model!r} has no source.export_dir; "
                "trigger the DAG with the path of a SavedModel"
            )
        choice = newest_export(
            exports=complete_exports(source.export_dir, settle_seconds=source.settle, now=SystemClock().now()),
            repository=self.open_fleet().repository,
            model=self.model_file.model,
        )
        self.log.info("model=%s export_dir=%s %s", self.model_file.model, source.export_dir, choice.reason)
        if choice.export is None:
            raise AirflowSkipException(f"{source.export_dir}: {choice.reason}")
        return choice.export.directory


def _mapping(value: Mapping[str, Any] | str | None, name: str) -> Mapping[str, Any]:
    """Return a templated mapping; a template that renders to nothing is an empty one."""
    if value in (None, "", "None"):
        return {}
    if not isinstance(value, Mapping):
        raise AirflowFailException(f"{name} is {value!r}; give a mapping, e.g. as a run parameter of type object")
    return value


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in metrics.items()}
    except (TypeError, ValueError) as error:
        raise AirflowFailException(f"metrics is {dict(metrics)!r}; give each a number ({error})") from error
