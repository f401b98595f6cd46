"""Models whose versions descend from one another and from shared data, recorded in one ledger, for questions about lineage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core import transitions
from airflow_model_ops.core.errors import VersionNotFound
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.state import Fence, LiveRelease
from airflow_model_ops.core.upstream import (
    SOURCE_KEY,
    UpstreamArtifact,
    UpstreamContext,
    UpstreamEvent,
    UpstreamExecution,
    UpstreamLineage,
)
from airflow_model_ops.core.versioning import Version
from tests.adapters.lineage_story import AUTOMATION, NAMING, RUN, START, Story


def v(day: int) -> Version:
    """A version by its day in June."""
    return NAMING.parse(f"v-202306{day:02d}-120000")


def artifact(number: int, kind: str, *, uri: str | None = None, **more: str) -> UpstreamArtifact:
    """An artifact of a pipeline's store, registered after those with lower ids."""
    place = f"/pipeline/{kind}/{number}" if uri is None else uri
    return UpstreamArtifact(id=str(number), type=kind, uri=place, created=str(1_600_000_000_000 + number), **more)  # type: ignore[arg-type]


def trained(*artifacts: UpstreamArtifact, connection: str = "tfx") -> UpstreamLineage:
    """The lineage of the first artifact, which a Trainer made of the others."""
    model, *ancestors = artifacts
    return UpstreamLineage(
        connection=connection,
        artifact=model.id,
        artifacts=artifacts,
        executions=(
            UpstreamExecution(id="9", type="tfx.components.pusher.component.Pusher"),
            UpstreamExecution(id="8", type="tfx.components.trainer.component.Trainer", state="COMPLETE"),
        ),
        contexts=(
            UpstreamContext(id="1", type="pipeline", name="taxi"),
            UpstreamContext(id="2", type="pipeline_run", name="2023-06-01T12:00:00"),
        ),
        events=(
            UpstreamEvent(execution="8", artifact=model.id, output=True, role="model"),
            *(UpstreamEvent(execution="8", artifact=each.id, output=False, role="examples") for each in ancestors),
        ),
    )


@dataclass(kw_only=True)
class Family:
    """Tells the logs of several models and records them."""

    settings: LedgerSettings
    stories: dict[str, Story] = field(default_factory=lambda: defaultdict(Story))
    manifests: dict[tuple[str, Version], Manifest] = field(default_factory=dict)

    def pushes(
        self,
        model: str,
        version: Version,
        *,
        dataset: str | None = None,
        upstream: UpstreamLineage | None = None,
        run: Mapping[str, str] = RUN,
        **more: object,
    ) -> None:
        """Let a version come into the repository."""
        source = {"path": "/exports/1"} | ({SOURCE_KEY: upstream.to_json()} if upstream else {})
        manifest = Manifest(
            version=version,
            digest=f"{version.number % 97:064x}",
            files={"saved_model.pb": "0" * 64},
            size=1234,
            created="2023-06-01T12:00:00+00:00",
            source=source,
            dataset_version=dataset,
        )
        self.manifests[model, version] = replace(manifest, **more)  # type: ignore[arg-type]
        self.stories[model].happens(
            FactKind.PUSHED, version, f"{version} pushed", run=run, detail={"digest": manifest.digest}
        )

    def starts(self, model: str, version: Version, *, percent: float = 10) -> Fence:
        """Let a canary get a share."""
        story, fence = self.stories[model], Fence(release=f"of {version}", attempt=1)
        live = LiveRelease(id=fence.release, attempt=1, version=version, started_at=START.isoformat())
        story.decides(transitions.start_canary(story.state, release=live, percent=percent), release=fence)
        story.is_applied()
        return fence

    def promotes(self, model: str, version: Version) -> None:
        """Let a version become stable."""
        story, fence = self.stories[model], self.starts(model, version)
        promoted = transitions.promote(story.state, fence=fence, version=version, proof="shown safe")
        story.decides(promoted, actor=AUTOMATION, release=fence)
        story.is_applied()

    def record(self) -> LedgerQueries:
        """Bring the ledger up to the logs."""
        for model, story in self.stories.items():
            MlmdLedger(self.settings).catch_up(model, story.log, self.manifests_of(model))
        return LedgerQueries(self.settings)

    def manifests_of(self, model: str) -> Callable[[Version], Manifest]:
        """Give the manifests of a model as its repository does."""

        def manifest(version: Version) -> Manifest:
            if (model, version) not in self.manifests:
                raise VersionNotFound(f"no manifest of {version}")
            return self.manifests[model, version]

        return manifest
