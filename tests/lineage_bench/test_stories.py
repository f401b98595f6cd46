"""The generated logs: the same for the same seed, realistic, and bounded."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from airflow_model_ops.core.errors import VersionNotFound
from airflow_model_ops.core.log import Entry, check_chain
from airflow_model_ops.core.upstream import UpstreamLineage, upstream_of
from airflow_model_ops.core.versioning import VersionNaming
from benchmarks.lineage import pipelines
from benchmarks.lineage.pipelines import MODELS_PER_FEED, Source
from benchmarks.lineage.stories import RELEASED_EVERY, StoryLog

VERSIONS = 400


def told(*, seed: int = 1, number: int = 0, versions: int = VERSIONS) -> list[Entry]:
    return list(StoryLog(Source(number=number), versions=versions, seed=seed).entries())


@pytest.fixture(scope="module")
def story() -> list[Entry]:
    return told()


def test_a_seed_tells_the_same_story_again_and_another_seed_another_one(story: list[Entry]) -> None:
    assert [entry.digest for entry in told()] == [entry.digest for entry in story]
    assert told(seed=2)[-1].digest != story[-1].digest
    assert told(number=1)[-1].digest != story[-1].digest


def test_a_longer_story_begins_as_the_shorter_one(story: list[Entry]) -> None:
    shorter = told(versions=VERSIONS // 2)
    assert [entry.digest for entry in shorter] == [entry.digest for entry in story[: len(shorter)]]


def test_the_story_is_a_log_without_a_gap_whose_clock_never_goes_back(story: list[Entry]) -> None:
    check_chain(story[0], None)
    for before, after in pairwise(story):
        check_chain(after, before)
        assert before.at <= after.at


def test_every_version_is_pushed_and_every_way_a_release_can_end_happens(story: list[Entry]) -> None:
    names = Counter(entry.name for entry in told(versions=4_000))
    assert names["pushed"] == 4_000
    assert names["start_canary"] == names["validated"] == 4_000 // RELEASED_EVERY
    assert min(names[name] for name in ("promote", "abort", "rollback", "retire", "retired", "verdict", "lift")) > 0


def test_the_serving_state_stays_bounded(story: list[Entry]) -> None:
    largest = max(len(entry.to_bytes()) for entry in story)
    assert max(len(entry.to_bytes()) for entry in told(versions=10 * VERSIONS)) < 2 * largest


def test_the_log_gives_any_entry_and_goes_on_from_any(story: list[Entry]) -> None:
    log = StoryLog(Source(number=0), versions=VERSIONS, seed=1)
    assert log.read(17) == story[16]
    assert log.read(len(story) + 1) is None
    assert log.last() == story[-1]
    assert [entry.sequence for entry in log.entries(after=len(story) - 2)] == [len(story) - 1, len(story)]


def test_a_manifest_keeps_its_pipelines_lineage_and_shares_its_dataset_with_other_models() -> None:
    source, sibling, stranger = (Source(number=number) for number in (0, MODELS_PER_FEED - 1, MODELS_PER_FEED))
    manifest = source.manifest_of(source.version(7))
    lineage = upstream_of(manifest.source)
    assert lineage == pipelines.upstream_of(source, 7)
    assert isinstance(lineage, UpstreamLineage)
    assert [artifact.type for artifact in lineage.artifacts] == ["Model", "Examples", "Schema"]
    assert manifest.dataset_version == sibling.manifest_of(sibling.version(7)).dataset_version
    assert manifest.dataset_version != stranger.manifest_of(stranger.version(7)).dataset_version
    others = pipelines.upstream_of(sibling, 7).artifacts
    assert others[1:] == lineage.artifacts[1:]
    assert others[0] != lineage.artifacts[0]


def test_a_version_that_no_story_tells_has_no_manifest() -> None:
    with pytest.raises(VersionNotFound, match="model-00"):
        Source(number=0).manifest_of(VersionNaming().parse("v-20200101-000001"))
