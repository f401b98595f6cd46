"""A bad artifact: which versions come from it, off with them, and whether that worked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.blast_radius import ArtifactRef, live_affected, versions_named
from airflow_model_ops.core.errors import InvalidConfig, LedgerUnavailable, ModelOpsError
from airflow_model_ops.core.state import GOLDEN
from airflow_model_ops.operators.base import APPLY_SECONDS, TrafficOperator, told_to_airflow

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.adapters.lineage.blast_radius import AffectedModel
    from airflow_model_ops.hooks.mlmd import MlmdHook


class FindBlastRadiusOperator(BaseOperator):
    """Find every version of any model that comes from an artifact, after bringing the ledgers up to the logs.

    Returns a list with a ``dict`` per model: ``model``, ``versions`` (names), ``live`` (label to name, as recorded), ``trouble``
    (why the model could not be brought up to date, or ``None``). A model in trouble is in the list whether or not a version of it
    is known to be affected: nobody knows. A model without a YAML file is in it if an affected version is live.

    :param models: The models by name, as ``load_ways_back`` returns them.
    :param artifact: Such as ``dataset:digits@7``; see :class:`~airflow_model_ops.core.blast_radius.ArtifactRef`. (templated)
    """

    template_fields: Sequence[str] = ("artifact",)
    ui_color = "#f3e8fd"

    def __init__(self, *, models: Mapping[str, ModelIdentity], artifact: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.models = models
        self.artifact = artifact

    def execute(self, context: Context) -> list[dict[str, Any]]:  # noqa: ARG002 (Airflow's signature)
        """Catch up, ask, and return what was found; fails if a ledger is away, or if no ledger knows the artifact."""
        with told_to_airflow():
            return self.find()

    def find(self) -> list[dict[str, Any]]:
        """Catch up, ask, and return what was found.

        :raises ModelOpsError: if a ledger is away, or no ledger knows the artifact.
        """
        ref = ArtifactRef.parse(self.artifact)
        trouble = self._catch_up()
        found: dict[str, dict[str, Any]] = {
            name: {"model": name, "versions": [], "live": {}, "trouble": why} for name, why in trouble.items()
        }
        for affected in self._ask(ref):
            name = affected.model
            self.log.info("model=%s %d affected: %s", name, len(affected.versions), affected.why)
            if name in self.models or affected.live:
                found[name] = _item(affected, trouble.get(name))
        return [found[name] for name in sorted(found)]

    def _catch_up(self) -> dict[str, str]:
        """Record what is missing of every model; return why that failed for some."""
        trouble = {}
        for name, identity in sorted(self.models.items()):
            try:
                self._record(identity)
            except LedgerUnavailable:
                raise
            except (ModelOpsError, OSError) as error:
                trouble[name] = str(error)
                self.log.error("model=%s is not recorded up to its log: %s", name, error)  # noqa: TRY400 (no traceback)
        return trouble

    def _record(self, identity: ModelIdentity) -> None:
        from airflow_model_ops.control.recording import record
        from airflow_model_ops.hooks.wiring import open_repository_of

        if identity.connections.ledger is None:
            raise InvalidConfig("it has no ledger, so nobody knows what its versions come from; set connections.ledger")
        ledger = _hook(identity.connections.ledger).get_conn()
        recorded = record(ledger, open_repository_of(identity.connections), identity.model)
        self.log.info("model=%s recorded=%d", identity.model, recorded)

    def _ask(self, ref: ArtifactRef) -> list[AffectedModel]:
        """Return what the ledgers know.

        :raises ArtifactNotFound: or VersionNotFound, if none knows the artifact.
        """
        from airflow_model_ops.hooks.mlmd import affected_models

        ids = sorted({file.connections.ledger for file in self.models.values() if file.connections.ledger})
        if not ids:
            raise InvalidConfig("no model has a ledger, so nobody knows what comes from what; set connections.ledger")
        return affected_models(ref, ledgers={each: _hook(each).queries() for each in ids}, ledger_of=self._ledger_of)

    def _ledger_of(self, model: str) -> str | None:
        return self.models[model].connections.ledger if model in self.models else None


class QuarantineVersionOperator(TrafficOperator):
    """Ban versions of a model until a person lifts them, each by a transition of its own.

    One that must not be banned, because nothing good would serve without it, keeps no other from it; the task then fails with
    the reason. Versions whose files are deleted are left out.

    :param versions: Names of the versions, or one name. (templated)
    :param reason: Why; it is kept in the log. (templated)
    :param force: Also ban what serves alone; it goes on serving until a rollback.
    :param wanted: Whether to ban them at all; the task is skipped otherwise. (templated)
    """

    template_fields: Sequence[str] = ("choose", "versions", "reason", "wanted")
    ui_color = "#fce8e6"
    is_way_back = True

    def __init__(
        self,
        *,
        versions: Sequence[str] | str,
        reason: str,
        force: bool = False,
        wanted: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.versions = versions
        self.reason = reason
        self.force = force
        self.wanted = wanted

    def act(self, context: Context) -> dict[str, Any]:
        """Quarantine, apply once, and fail at the end if a version was refused."""
        from airflow_model_ops.control.blast_radius import quarantine_all

        if str(self.wanted).lower() != "true":
            raise AirflowSkipException("nothing was asked to be quarantined")
        control = self.control(context, for_person=True)
        names = [self.versions] if isinstance(self.versions, str) else self.versions
        before = control.committer.head()[1]
        result = quarantine_all(control, names, reason=self.reason, force=self.force)
        if control.committer.head()[1] != before:
            control.apply(deadline_seconds=max(APPLY_SECONDS, self.identity.load_seconds))
        if result.refused:
            told = "; ".join(result.refused.values())
            raise AirflowFailException(f"model {control.model!r}: not every version is quarantined: {told}")
        return {"quarantined": result.done, "gone": result.gone}


class CheckBlastRadiusOperator(FindBlastRadiusOperator):
    """Fail, model by model, if an affected version still serves, one that was pushed meanwhile too, or if nobody knows.

    :param models: The models by name, as ``load_ways_back`` returns them.
    :param artifact: Whose versions are looked for once more. (templated)
    :param found: What :class:`FindBlastRadiusOperator` returned. (templated)
    """

    template_fields: Sequence[str] = ("artifact", "found")
    ui_color = "#e6f4ea"

    def __init__(self, *, found: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.found = found

    def execute(self, context: Context) -> dict[str, list[str]]:  # type: ignore[override]  # noqa: ARG002
        """Find again, read the heads of all models, and return those that serve no affected version."""
        if self.found is None:
            raise AirflowFailException("what comes from the artifact was not found out; see the task before")
        found, unknown = {item["model"]: item for item in self.found}, ""
        try:
            found |= {item["model"]: item for item in self.find()}
        except ModelOpsError as error:
            unknown = f"; whether more was pushed from it meanwhile is not known: {error}"
        wrong = {name: why for name, item in found.items() if (why := self._wrong(item)) is not None}
        if wrong or unknown:
            told = "; ".join(f"model {name!r}: {why}" for name, why in sorted(wrong.items())) or "those found are"
            raise AirflowException(f"not every model is off the affected versions: {told}{unknown}")
        return {"clean": sorted(found)}

    def _wrong(self, item: Mapping[str, Any]) -> str | None:
        from airflow_model_ops.control.heads import read_head
        from airflow_model_ops.hooks.wiring import open_repository_of

        name = item["model"]
        if name not in self.models:
            live = ", ".join(f"{label} {version}" for label, version in item["live"].items())
            return (
                f"no YAML file describes it, so nothing was done: {live}, by the ledger; write its file, then run again"
            )
        try:
            head = read_head(open_repository_of(self.models[name].connections).log(name))
        except (ModelOpsError, OSError) as error:
            return f"its log cannot be read: {error}"
        if item["trouble"]:
            return str(item["trouble"])
        live_now = live_affected(head.state, versions_named(head.state, item["versions"])) if head else {}
        if GOLDEN in live_now:
            self.log.warning("model=%s golden %s is affected: pin a clean version", name, live_now[GOLDEN])
        serving = [f"{label} {version}" for label, version in live_now.items() if label != GOLDEN]
        if not serving:
            return None
        before = {version for each in self.found if each["model"] == name for version in each["versions"]}
        late = sorted({version.name for version in live_now.values()} - before)
        remedy = f"{', '.join(late)} was pushed meanwhile: run again" if late else "see its rollback"
        return f"{', '.join(serving)} still serves; {remedy}"


def _item(affected: AffectedModel, trouble: str | None) -> dict[str, Any]:
    return {
        "model": affected.model,
        "versions": [each.version for each in affected.versions],
        "live": dict(affected.live),
        "trouble": trouble,
    }


def _hook(ledger: str) -> MlmdHook:
    from airflow_model_ops.hooks.mlmd import MlmdHook

    return MlmdHook(ledger)
