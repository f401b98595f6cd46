"""What keeps a fleet tidy: retention, reconciliation, and the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from airflow_model_ops.assets import ROLLBACK_ALIAS, model_asset
from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import ConnectionsPart, ModelIdentity
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.page_links import model_page
from airflow_model_ops.dag_names import release_id
from airflow_model_ops.links import ModelLink
from airflow_model_ops.notifications import base_url
from airflow_model_ops.operators.base import APPLY_SECONDS, ModelOperator, origin_of, told_to_airflow
from airflow_model_ops.operators.fleet_news import FleetNews

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.control.heads import Head
    from airflow_model_ops.hooks.wiring import Fleet


class CleanupVersionsOperator(ModelOperator):
    """Unload what nothing needs any longer and retire versions beyond ``retention.keep_last``.

    Nothing that serves, may be rolled back to, or is still listed by a server is ever deleted.

    :param unload_seconds: Longest to wait until servers have unloaded; what is left goes next time.
    """

    def __init__(self, *, unload_seconds: float = 120.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unload_seconds = unload_seconds

    def act(self, context: Context) -> dict[str, list[str]]:
        """Clean up and return the names of what was retired, deleted and spared."""
        from airflow_model_ops.control.retention import cleanup

        control = self.control(context)
        keep_last = self.model_file.retention.keep_last
        result = cleanup(control, keep_last=keep_last, deadline_seconds=self.unload_seconds)
        self.log.info("model=%s cleanup: %s", control.model, result)
        return {
            "retired": [version.name for version in result.retired],
            "deleted": [version.name for version in result.deleted],
            "spared": [version.name for version in result.spared],
        }


class ReconcileOperator(BaseOperator):
    """Finish what a killed worker left, end releases that nobody looks after, and mend drift, for all models of a fleet.

    A promotion or rollback that it applied in the place of a killed worker touches the model's stable asset.

    :param connections: Where the fleet is: a :class:`~airflow_model_ops.config.fleet_place.FleetPlace`, such as ``place`` of a
        loaded model file, or the connection ids of the repository and a TF Serving fleet.
    :param apply_seconds: How long to go on with models that do not follow yet, for all together.
    :param models: The models of the installation by name: those of this fleet whose YAML files name notifiers are told of what is
        new and of drift; see :mod:`airflow_model_ops.notifications`.
    """

    ui_color = "#e6f4ea"
    operator_extra_links = (ModelLink(),)

    def __init__(
        self,
        *,
        connections: FleetPlace | ConnectionsPart | Mapping[str, Any] | None = None,
        apply_seconds: float = APPLY_SECONDS,
        models: Mapping[str, ModelIdentity] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connections = connections
        self.models = dict(models or {})
        self.noted_links = {ModelLink().xcom_key: model_page(base_url(), None)}
        self.apply_seconds = apply_seconds
        self.outlets = [*self.outlets, ROLLBACK_ALIAS]

    def execute(self, context: Context) -> dict[str, Any]:
        """Reconcile; the task fails if a model could not be brought to its head, after all others were."""
        from airflow_model_ops.hooks.wiring import open_fleet_of

        with told_to_airflow():
            place, origin = place_of(self.connections), origin_of(context)
            fleet, news = open_fleet_of(place), FleetNews.of(self.models, place=place)
            result = fleet.upkeep(origin=origin).reconcile(
                deadline_seconds=self.apply_seconds, look_for_drift=news.wants_drift
            )
            self._emit(context, fleet)
            news.tell(fleet, result, origin=origin, context={**context})
        for model, what in result.done.items():
            self.log.info("model=%s %s", model, what)
        if result.failed:
            told = "; ".join(f"{model}: {why}" for model, why in sorted(result.failed.items()))
            raise AirflowException(f"not every model follows its head: {told}")
        return {"done": result.done}

    def _emit(self, context: Context, fleet: Fleet) -> None:
        """Touch the stable assets that this task, in this or an earlier try, has brought to another version."""
        from airflow_model_ops.control.heads import read_heads

        task = _task_of(origin_of(context).run)
        for model, head in read_heads(fleet.repository, fleet=fleet.name).items():
            if head.applied is None or _task_of(head.applied.origin.run) != task or not _moved_stable(head):
                continue
            run = head.entry.origin.run
            extra: dict[str, Any] = {
                "version": head.state.stable.name if head.state.stable else None,
                "split": {str(version.number): percent for version, percent in head.state.split},
                "reason": head.entry.reason,
                "run": release_id(run["dag_id"], run["run_id"]) if run else None,
            }
            context["outlet_events"][ROLLBACK_ALIAS].add(model_asset(model), extra=extra)


class RecordLineageOperator(ModelOperator):
    """Bring a model's ledger in ML Metadata up to its log; every entry exactly once, however often this runs.

    With several models and no ``choose`` it does so for all of them; one model's trouble does not stop the others.
    """

    ui_color = "#f3e8fd"

    def act(self, context: Context) -> dict[str, int]:  # noqa: ARG002 (the base's signature)
        """Catch up and return how many entries were recorded."""
        if self.choose is not None or not isinstance(self.model, Mapping):
            return {"recorded": self._record(self.identity)}
        recorded, failed = 0, {}
        for name, identity in sorted(self.model.items()):
            try:
                recorded += self._record(identity)
            except ModelOpsError as error:
                failed[name] = error
        if failed:
            told = "; ".join(f"{name}: {error}" for name, error in failed.items())
            raise AirflowException(f"not every model is recorded: {told}")
        return {"recorded": recorded}

    def _record(self, identity: ModelIdentity) -> int:
        from airflow_model_ops.control.recording import record
        from airflow_model_ops.hooks.mlmd import MlmdHook
        from airflow_model_ops.hooks.wiring import open_repository_of

        ledger_id = identity.connections.ledger
        if ledger_id is None:
            return 0
        recorded = record(MlmdHook(ledger_id).get_conn(), open_repository_of(identity.connections), identity.model)
        self.log.info("model=%s recorded=%d", identity.model, recorded)
        return recorded


def _task_of(run: Mapping[str, str]) -> tuple[str | None, ...]:
    return tuple(run.get(part) for part in ("dag_id", "run_id", "task_id"))


def _moved_stable(head: Head) -> bool:
    former = head.former.stable if head.former is not None else None
    return head.state.stable is not None and head.state.stable != former


def place_of(value: FleetPlace | ConnectionsPart | Mapping[str, Any] | None) -> FleetPlace:
    """Return where a fleet is, however that was given; ``None``: behind the default connections."""
    if isinstance(value, FleetPlace) or (isinstance(value, Mapping) and "vertex_ai" in value):
        return FleetPlace.of(value)
    ids = value if isinstance(value, ConnectionsPart) else ConnectionsPart.model_validate(value or {})
    return FleetPlace(repository=ids.repository, target=ids.target)
