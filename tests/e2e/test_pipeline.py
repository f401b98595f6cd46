"""A TFX pipeline blesses a model: it is released by itself, and its version knows where it comes from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from airflow_model_ops.core.upstream import upstream_of
from tests.adapters.pipeline_rig import Pipeline, dump
from tests.e2e.story import MODEL, PIPELINE, Run, Story

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def piped(story: Story) -> Iterator[Story]:
    """The story, whose pipeline's models start releases once the test lets them."""
    story.no_release_is_live()
    yield story
    story.rest.unpause(PIPELINE, paused=True)


def test_a_model_that_was_blessed_while_the_dag_was_paused_is_released_by_itself_afterwards(piped: Story) -> None:
    story, pipeline = piped, Pipeline(piped.pipeline_store)
    uri = story.stack.work / "taxi" / "model"
    shutil.copytree(story.trained / "good-1", uri / "Format-Serving")
    (uri / "Format-Serving" / "assets.extra").mkdir(exist_ok=True)
    (uri / "Format-Serving" / "assets.extra" / "run").write_text("other content than any release before")
    model = pipeline.trained(str(uri))
    pipeline.evaluated(model)
    before = dump(piped.pipeline_store)

    story.rest.unpause(PIPELINE)
    (run_id,) = story.until(lambda: story.rest.run_ids(PIPELINE), what="the watcher starts a release")
    run = Run(rest=story.rest, dag_id=PIPELINE, run_id=run_id).ends("success")

    stable = story.state.stable
    assert stable is not None
    assert run.returned("push")["version"] == stable.name
    story.clients_see_only(str(stable.number))
    manifest = story.repository.manifest(MODEL, stable)
    lineage = upstream_of(manifest.source)
    assert lineage is not None
    assert (lineage.connection, lineage.artifact) == ("tfx_mlmd", str(model))
    assert [artifact.type for artifact in lineage.artifacts] == ["Model", "ModelBlessing"]
    created = datetime.fromtimestamp(int(lineage.root.created) / 1000, tz=UTC)
    assert stable.name == f"v-{created:%Y%m%d-%H%M%S}"
    assert story.rest.run_ids(PIPELINE) == [run_id], "one run for one candidate"
    assert dump(piped.pipeline_store) == before
