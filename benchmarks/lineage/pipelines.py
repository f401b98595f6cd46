"""Where the generated versions come from: one pipeline's artifacts, datasets that versions and models share, manifests.

All of it follows from a model's number and a version's ordinal, so that nothing has to be kept while a ledger is written.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache

from airflow_model_ops.core.errors import VersionNotFound
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.upstream import (
    SOURCE_KEY,
    UpstreamArtifact,
    UpstreamContext,
    UpstreamEvent,
    UpstreamExecution,
    UpstreamLineage,
)
from airflow_model_ops.core.versioning import Version, VersionNaming

START = datetime(2020, 1, 1, tzinfo=UTC)
PERIOD = timedelta(hours=1)
"""A version is pushed this often, per model."""
CONNECTION = "tfx_metadata"
MODELS_PER_FEED, VERSIONS_PER_DATASET, DATASETS_PER_SCHEMA = 4, 5, 10
"""Who shares what: a dataset has 20 versions in 4 models, a schema has 200."""

_NAMING = VersionNaming()
_FIRST_MS = 1_577_836_800_000
_REMEMBERED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """What some versions of some models were trained on."""

    feed: int
    number: int

    @property
    def name(self) -> str:
        """Its name and number, as a manifest keeps it."""
        return f"feed-{self.feed}@{self.number}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One model's pipeline.

    :param number: Of the model, from 0.
    """

    number: int

    @cached_property
    def model(self) -> str:
        """The model's name."""
        return f"model-{self.number:02d}"

    def version(self, ordinal: int) -> Version:
        """Return the n-th version, from 0."""
        return _NAMING.from_time(self.pushed_at(ordinal))

    def pushed_at(self, ordinal: int) -> datetime:
        """Return when the n-th version is pushed, to the second."""
        return START + ordinal * PERIOD

    def dataset(self, ordinal: int) -> Dataset:
        """Return what the n-th version was trained on."""
        return Dataset(feed=self.number // MODELS_PER_FEED, number=ordinal // VERSIONS_PER_DATASET)

    def manifest_of(self, version: Version) -> Manifest:
        """Return the manifest of a version.

        :raises VersionNotFound: if no version of this model has that name.
        """
        pushed = datetime.strptime(version.name, "v-%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        ordinal, rest = divmod(pushed - START, PERIOD)
        if rest or ordinal < 0:
            raise VersionNotFound(f"{self.model!r} has no version {version}: it pushes one each {PERIOD}")
        return _manifest(self, ordinal)


@lru_cache(maxsize=_REMEMBERED)
def _manifest(source: Source, ordinal: int) -> Manifest:
    """Remember the newest ones: each entry of a release asks for those that serve."""
    version = source.version(ordinal)
    digest = hashlib.sha256(f"{source.model}/{version}".encode()).hexdigest()
    return Manifest(
        version=version,
        digest=digest,
        files={"saved_model.pb": digest},
        size=1_000_000 + ordinal,
        created=source.pushed_at(ordinal).isoformat(),
        source={"path": f"/exports/{source.model}/{ordinal}", SOURCE_KEY: upstream_of(source, ordinal).to_json()},
        dataset_version=source.dataset(ordinal).name,
        hyperparameters={"units": 32 << ordinal % 4, "rate": 0.001 * (1 + ordinal % 5), "optimizer": "adam"},
        metrics={"accuracy": 0.9 + (ordinal * 37 % 100) / 1000, "loss": 0.3 - (ordinal * 37 % 100) / 1000},
    )


def upstream_of(source: Source, ordinal: int) -> UpstreamLineage:
    """Return the lineage of a version: its model, the examples of its dataset, the schema of several datasets."""
    dataset = source.dataset(ordinal)
    schema_number = dataset.number // DATASETS_PER_SCHEMA
    trained = _artifact(3, source.number, ordinal, type_name="Model", uri=f"/pipeline/{source.model}/{ordinal}")
    examples = _artifact(2, dataset.feed, dataset.number, type_name="Examples", uri=f"/data/{dataset.name}")
    schema = _artifact(
        1, dataset.feed, schema_number, type_name="Schema", uri=f"/schemas/{dataset.feed}/{schema_number}"
    )
    trainer = UpstreamExecution(
        id=trained.id, type="Trainer", name=f"{source.model}.{ordinal}.Trainer", state="COMPLETE"
    )
    generator = UpstreamExecution(
        id=examples.id, type="ExampleGen", name=f"{dataset.name}.ExampleGen", state="COMPLETE"
    )
    return UpstreamLineage(
        connection=CONNECTION,
        artifact=trained.id,
        artifacts=(trained, examples, schema),
        executions=(trainer, generator),
        contexts=(
            UpstreamContext(id=f"{source.number + 1}", type="pipeline", name=source.model),
            UpstreamContext(id=f"{trained.id}1", type="pipeline_run", name=f"{source.model}.{ordinal}"),
        ),
        events=(
            UpstreamEvent(execution=trainer.id, artifact=trained.id, output=True, role="model"),
            UpstreamEvent(execution=trainer.id, artifact=examples.id, output=False, role="examples"),
            UpstreamEvent(execution=trainer.id, artifact=schema.id, output=False, role="schema"),
            UpstreamEvent(execution=generator.id, artifact=examples.id, output=True, role="examples"),
        ),
    )


def _artifact(kind: int, owner: int, number: int, *, type_name: str, uri: str) -> UpstreamArtifact:
    return UpstreamArtifact(
        id=f"{kind}{owner:03d}{number:08d}",
        type=type_name,
        uri=uri,
        name=f"{type_name.lower()}-{owner}-{number}",
        created=str(_FIRST_MS + number),
        properties={"state": "published"},
    )
