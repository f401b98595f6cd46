"""Push: store a SavedModel as a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_model_ops.core.ports import Manifest, PushRequest
from airflow_model_ops.core.upstream import upstream_of
from airflow_model_ops.dag_names import release_id
from airflow_model_ops.operators.base import ModelOperator
from airflow_model_ops.operators.push_sources import (
    PushSource,
    artifact_ref,
    artifact_source,
    event_source,
    newest_candidate_source,
    newest_export_source,
    saved_model_source,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.hooks.saved_models import SavedModels


class PushModelOperator(ModelOperator):
    """Store a SavedModel directory as a new version of the model.

    A retried or cleared task adopts its own first try: the name comes from the run's fixed time, or from when the pipeline
    registered its artifact. Returns ``version`` (its name), ``number`` (its serving number, a string), ``digest`` and
    ``size``; pushes the XCom ``version_id`` too.

    :param saved_model: The directory, or its URL in object storage, e.g. ``gs://conn_id@bucket/path``; without it and
        ``upstream``, what the model's ``source`` gives is taken: the pipeline's model whose event started the run, the
        pipeline's newest or the newest complete export that was neither promoted nor quarantined. The task is skipped if
        there is none. (templated)
    :param upstream: A model of a TFX pipeline instead: what ``BlessedModelSensor`` or ``PushedModelSensor`` returned, or
        ``CONNECTION/ID`` of an artifact. What led to it is kept in the manifest. (templated)
    :param version: Name of the version; empty: named after the run's, or the artifact's time. Semantic versions need one.
        (templated)
    :param dataset_version: Which data it was trained on; empty: what the upstream lineage tells without doubt. (templated)
    :param hyperparameters: What it was trained with; empty: as ``dataset_version``. (templated)
    :param metrics: Its offline metrics, name to number. (templated)
    """

    template_fields: Sequence[str] = (
        "choose",
        "saved_model",
        "upstream",
        "version",
        "dataset_version",
        "hyperparameters",
        "metrics",
    )

    def __init__(
        self,
        *,
        saved_model: str | None = None,
        upstream: Mapping[str, Any] | str | None = None,
        version: str | None = None,
        dataset_version: str | None = None,
        hyperparameters: Mapping[str, Any] | str | None = None,
        metrics: Mapping[str, float] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.saved_model = saved_model
        self.upstream = upstream
        self.version = version
        self.dataset_version = dataset_version
        self.hyperparameters = hyperparameters
        self.metrics = metrics

    def act(self, context: Context) -> dict[str, str]:
        """Push and return the version."""
        control = self.control(context)
        run = context["dag_run"]
        manifest = None if self.saved_model else control.pushed_in_run(run.dag_id, run.run_id)
        if manifest is None or not self._is_asked_for(manifest):
            manifest = self._push(control, context)
        self.note(control, pushed=manifest.version)
        self.log.info("model=%s pushed version=%s digest=%s", control.model, manifest.version, manifest.digest)
        context["ti"].xcom_push(key="version_id", value=manifest.version.name)
        return {
            "version": manifest.version.name,
            "number": str(manifest.version.number),
            "digest": manifest.digest,
            "size": str(manifest.size),
        }

    def _push(self, control: ModelControl, context: Context) -> Manifest:
        from airflow_model_ops.hooks.saved_models import SavedModels

        run = context["dag_run"]
        with SavedModels() as saved_models:
            chosen = self._chosen(context, saved_models)
            request = PushRequest(
                directory=chosen.directory,
                created=chosen.created or run.run_after.astimezone(UTC).isoformat(),
                source={"path": chosen.place, "run": release_id(run.dag_id, run.run_id), **chosen.known},
                dataset_version=_stripped(self.dataset_version) or chosen.dataset_version,
                hyperparameters=_mapping(self.hyperparameters, "hyperparameters") or chosen.hyperparameters,
                metrics=_numbers(_mapping(self.metrics, "metrics")),
            )
            return control.push(request, name=self.version or None)

    def _chosen(self, context: Context, saved_models: SavedModels) -> PushSource:
        if self.saved_model and self._upstream:
            raise AirflowFailException(
                f"the run names saved_model {self.saved_model!r} and upstream {self.upstream!r}; give one of them"
            )
        if self.saved_model:
            return saved_model_source(str(self.saved_model), saved_models)
        if self._upstream:
            return artifact_source(artifact_ref(self._upstream), saved_models)
        file, repository = self.model_file, self.open_fleet().repository
        part = file.source.pipeline if file.source else None
        if part is None:
            return newest_export_source(file, repository, saved_models)
        told = event_source(file, repository, context, saved_models)
        return told or newest_candidate_source(file, part, repository, saved_models)

    def _is_asked_for(self, manifest: Manifest) -> bool:
        """Whether what this run pushed before is what this task is to push; another task may have pushed in it, too."""
        if self._upstream is None:
            return True
        lineage, ref = upstream_of(manifest.source), artifact_ref(self._upstream)
        return lineage is not None and (lineage.connection, lineage.artifact) == (ref.connection, str(ref.artifact))

    @property
    def _upstream(self) -> Mapping[str, Any] | str | None:
        """What was given as upstream; a template that renders to nothing is nothing."""
        return None if self.upstream in (None, "", "None") or self.upstream == {} else self.upstream


def _stripped(value: str | None) -> str | None:
    """Return a name without the line feed that a command's output ends with; what is no text is refused by the push."""
    return value.strip() if isinstance(value, str) else value


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
