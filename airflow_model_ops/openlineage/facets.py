"""The form that OpenLineage gives to datasets: its own facets where it has one, and two of this package.

The only module that needs Airflow's OpenLineage provider; import it only when that provider asks. The schemas of the two
facets are the JSON files beside this one; a change of their meaning takes a new folder of schemas.

Source of the rules for names, producer and schema: OpenLineage's specification of custom facets.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow.providers.openlineage.extractors import OperatorLineage
from attrs import define
from openlineage.client.event_v2 import Dataset as OpenLineageDataset
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    RunFacet,
    dataset_type_dataset,
    dataset_version_dataset,
    documentation_dataset,
    lifecycle_state_change_dataset,
)

from airflow_model_ops import __version__
from airflow_model_ops.openlineage.datasets import (
    Dataset,
    PlainDataset,
    ServingDataset,
    TaskLineage,
    VersionDataset,
)

SCHEMAS = "1-0-0"
"""Version of the facets' schemas, and the folder they are in."""
PRODUCER = f"pkg:pypi/airflow-model-ops@{__version__}"
"""Who says this, as a package URL."""
VERSION_KEY, SERVING_KEY = "modelOps_modelVersion", "modelOps_servingState"
"""The keys of the two facets among those of a dataset."""


def _schema_url(facet: str) -> str:
    """Return where a facet's schema is, as a package URL: that file of this very release."""
    return f"{PRODUCER}#airflow_model_ops/openlineage/schemas/{SCHEMAS}/{facet}.json"


@define(kw_only=True)
class ModelOpsModelVersionDatasetFacet(DatasetFacet):
    """What a version of a model is, and how it stands after the task.

    :param servingNumber: The number that model servers know it by, as text.
    :param percent: Its share of the traffic.
    :param verdict: What checks on metrics said; ``None``: they were not asked.
    :param blessed: What validation said; ``None``: it was not asked.
    :param judgedReason: The words of the newest of these two.
    """

    model: str
    version: str
    servingNumber: str  # noqa: N815 (OpenLineage's style)
    labels: list[str]
    percent: float
    quarantined: bool
    digest: str | None = None
    datasetVersion: str | None = None  # noqa: N815
    verdict: str | None = None
    blessed: bool | None = None
    judgedReason: str | None = None  # noqa: N815

    @staticmethod
    def _get_schema() -> str:
        return _schema_url("ModelOpsModelVersionDatasetFacet")


@define(kw_only=True)
class ModelOpsServingStateDatasetFacet(DatasetFacet):
    """What a model serves after the task, and who made it so.

    :param generation: Number of the transition in the model's log, as text.
    :param split: Share of the traffic in percent, by version.
    :param applied: Whether the fleet is known to follow.
    """

    model: str
    fleet: str
    generation: str
    action: str
    actor: str
    reason: str
    split: dict[str, float]
    applied: bool
    stable: str | None = None
    canary: str | None = None
    golden: str | None = None

    @staticmethod
    def _get_schema() -> str:
        return _schema_url("ModelOpsServingStateDatasetFacet")


def operator_lineage(lineage: TaskLineage) -> OperatorLineage[OpenLineageDataset, RunFacet]:
    """Return what the provider's listener sends."""
    return OperatorLineage(
        inputs=[InputDataset(each.namespace, each.name, facets=_facets(each)) for each in lineage.inputs],
        outputs=[OutputDataset(each.namespace, each.name, facets=_facets(each)) for each in lineage.outputs],
    )


def _facets(dataset: Dataset) -> dict[str, DatasetFacet]:
    if isinstance(dataset, VersionDataset):
        return dict(_version_facets(dataset))
    return dict(_serving_facets(dataset) if isinstance(dataset, ServingDataset) else _plain_facets(dataset))


def _version_facets(dataset: VersionDataset) -> Iterable[tuple[str, DatasetFacet]]:
    manifest, judged = dataset.manifest, dataset.judged
    yield "version", dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version.name)
    yield "datasetType", dataset_type_dataset.DatasetTypeDatasetFacet("MODEL")
    if dataset.created:
        created = lifecycle_state_change_dataset.LifecycleStateChange.CREATE
        yield "lifecycleStateChange", lifecycle_state_change_dataset.LifecycleStateChangeDatasetFacet(created)
    yield (
        VERSION_KEY,
        ModelOpsModelVersionDatasetFacet(
            producer=PRODUCER,
            model=dataset.model,
            version=dataset.version.name,
            servingNumber=str(dataset.version.number),
            labels=dataset.labels,
            percent=dataset.percent,
            quarantined=dataset.quarantined,
            digest=manifest.digest if manifest else None,
            datasetVersion=manifest.dataset_version if manifest else None,
            verdict=judged.verdict,
            blessed=judged.blessed,
            judgedReason=judged.reason or None,
        ),
    )


def _serving_facets(dataset: ServingDataset) -> Iterable[tuple[str, DatasetFacet]]:
    labels = {label: version.name for label, version in dataset.state.labels.items()}
    yield "version", dataset_version_dataset.DatasetVersionDatasetFacet(str(dataset.generation))
    yield (
        SERVING_KEY,
        ModelOpsServingStateDatasetFacet(
            producer=PRODUCER,
            model=dataset.model,
            fleet=dataset.state.fleet,
            generation=str(dataset.generation),
            action=dataset.action,
            actor=dataset.actor,
            reason=dataset.reason,
            split={version.name: percent for version, percent in dataset.state.split},
            applied=dataset.applied,
            stable=labels.get("stable"),
            canary=labels.get("canary"),
            golden=labels.get("golden"),
        ),
    )


def _plain_facets(dataset: PlainDataset) -> Iterable[tuple[str, DatasetFacet]]:
    yield "documentation", documentation_dataset.DocumentationDatasetFacet(dataset.description)
    if dataset.version is not None:
        yield "version", dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version)
