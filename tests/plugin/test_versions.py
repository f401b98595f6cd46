"""The table of versions: what a row says, from which backend, and how a long list is paged."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.ports import KnownVersion, Manifest
from airflow_model_ops.core.state import Canary, Fence, Golden, Holdback, LiveRelease, ServingState
from airflow_model_ops.core.versioning import Scheme, VersionNaming
from airflow_model_ops.plugin.versions import version_names
from airflow_model_ops.plugin.versions.version_names import sorted_newest_first
from airflow_model_ops.plugin.versions.version_table import VersionsPage, read_page, read_pushes, rows_of, statuses
from airflow_model_ops.testing import InMemoryRepository
from tests.plugin.page_story import PageStory, run_of

NAMING = VersionNaming()
V1, V2, V3, V4 = (NAMING.parse(f"v-2023060{day}-120000") for day in (1, 2, 3, 4))


@pytest.fixture(autouse=True)
def _listed_anew() -> Iterator[None]:
    version_names.forget()
    yield
    version_names.forget()


class TestStatus:
    def test_several_words_may_hold_for_one_version(self) -> None:
        state = ServingState(
            fleet="main",
            stable=V2,
            golden=Golden(version=V2, by_person=True),
            earlier=(V1,),
            holdback=Holdback(version=V1, percent=5),
            promoted_by=Fence(release="r", attempt=1),
            left=(V3,),
            quarantined=(V3,),
            retired=(V4,),
        )
        assert statuses(state) == {
            V2.name: ["stable", "golden"],
            V1.name: ["held back", "earlier"],
            V3.name: ["left", "quarantined"],
            V4.name: ["retired"],
        }

    def test_a_version_on_trial_is_the_canary(self) -> None:
        live = LiveRelease(id="r", attempt=1, version=V2, started_at="2023-06-01T12:00:00+00:00")
        state = ServingState(fleet="main", stable=V1, canary=Canary(version=V2, percent=0), release=live)
        assert statuses(state) == {V1.name: ["stable"], V2.name: ["canary"]}


class TestRows:
    manifest = Manifest(
        version=V1,
        digest="a" * 64,
        files={},
        size=12,
        created="2023-06-01T12:00:00",
        metrics={"accuracy": 0.9, "broken": float("nan")},
        hyperparameters={"rates": [0.1, float("inf")]},
    )

    def rows(self, *known: KnownVersion | None, state: ServingState | None = None) -> list[Any]:
        names = tuple(version.name for version in (V1, V2)[: len(known)])
        page = VersionsPage(
            names=names,
            known={name: each for name, each in zip(names, known, strict=True) if each},
            state=state,
            total=len(known),
        )
        return rows_of(page, told={}, pushes={}, naming=NAMING)

    def test_numbers_that_json_does_not_know_are_no_reason_to_show_nothing(self) -> None:
        (row,) = self.rows(KnownVersion(manifest=self.manifest))
        assert row.metrics == {"accuracy": 0.9}
        assert row.hyperparameters == {"rates": [0.1, "inf"]}
        assert row.created.isoformat() == "2023-06-01T12:00:00+00:00"
        json.dumps(row.model_dump(mode="json"), allow_nan=False)

    def test_what_no_state_names_is_a_candidate_unless_its_files_are_gone(self) -> None:
        manifests = self.manifest, replace(self.manifest, version=V2)
        rows = self.rows(KnownVersion(manifest=manifests[0], retired=True), KnownVersion(manifest=manifests[1]))
        assert [row.status for row in rows] == [["retired"], ["candidate"]]

    def test_a_manifest_that_cannot_be_read_says_so_in_its_row(self) -> None:
        row, absent = self.rows(KnownVersion(manifest=None, fault="manifest cannot be read"), None)
        assert (row.trouble, row.serving_number, row.digest) == ("manifest cannot be read", "20230601120000", None)
        assert absent.trouble == "the serving state names it, but the repository has no manifest of it"


class TestPaging:
    def test_names_are_ordered_as_their_numbers_are(self) -> None:
        names = ("seg2-v1.10.0", "seg2-v1.9.9", "seg2-v10.0.0", "seg2-v1.9.10")
        newest_first = ["seg2-v10.0.0", "seg2-v1.10.0", "seg2-v1.9.10", "seg2-v1.9.9"]
        assert sorted_newest_first(names, scheme=Scheme.SEMANTIC) == newest_first
        naming = VersionNaming(scheme=Scheme.SEMANTIC, prefix="seg2")
        assert sorted(names, key=lambda name: naming.parse(name).number, reverse=True) == newest_first

    def test_a_page_reads_its_own_manifests_and_lists_once(self) -> None:
        class Counting(InMemoryRepository):
            def __init__(self) -> None:
                super().__init__()
                self.listed = 0
                self.read: list[str] = []

            def version_names(self, model: str) -> tuple[str, ...]:
                self.listed += 1
                return super().version_names(model)

            def known_versions(self, model: str, names: Any) -> Any:
                self.read.extend(names)
                return super().known_versions(model, names)

        repository, model = Counting(), ModelIdentity(model="digits")
        for version in (V1, V2, V3, V4):
            repository.add_version("digits", version)
        first = read_page(repository, model, limit=2, skip=0)
        second = read_page(repository, model, limit=2, skip=2)
        beyond = read_page(repository, model, limit=2, skip=4)
        assert [first.names, second.names, beyond.names] == [(V4.name, V3.name), (V2.name, V1.name), ()]
        assert {page.total for page in (first, second, beyond)} == {4}
        assert (repository.listed, len(repository.read)) == (1, 4)

    def test_a_slow_listing_keeps_nobody_waiting_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Such as of a bucket with very many versions: all threads that read repositories would wait for it."""
        begun, go_on = threading.Event(), threading.Event()

        class Slow(InMemoryRepository):
            def version_names(self, model: str) -> tuple[str, ...]:
                begun.set()
                assert go_on.wait(60)
                return super().version_names(model)

        repository, model = Slow(), ModelIdentity(model="digits")
        repository.add_version("digits", V1)
        monkeypatch.setattr(version_names, "WAIT_SECONDS", 0.01)
        monkeypatch.setattr(version_names, "KEPT_SECONDS", -1.0)
        monkeypatch.setattr(version_names, "KEPT_TIMES", -1.0)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(version_names.newest_first, repository, model)
            assert begun.wait(60)
            with pytest.raises(RepositoryUnavailable, match="are still being listed; ask again"):
                version_names.newest_first(repository, model)
            go_on.set()
            assert first.result(60) == (V1.name,)
            begun.clear()
            go_on.clear()
            repository.add_version("digits", V2)
            second = pool.submit(version_names.newest_first, repository, model)
            assert begun.wait(60)
            assert version_names.newest_first(repository, model) == (V1.name,)
            go_on.set()
            assert second.result(60) == (V2.name, V1.name)


class TestTheAnswer:
    def test_nobody_and_strangers_see_no_version(self, as_nobody: TestClient, as_stranger: TestClient) -> None:
        assert as_nobody.get("models/digits/versions").status_code == 401
        assert as_stranger.get("models/digits/versions").status_code == 404

    def test_a_dead_ledger_leaves_the_table_as_it_is(self, as_viewer: TestClient) -> None:
        """Who pushed what is then found in the log."""
        answer = as_viewer.get("models/spam/versions").json()
        assert answer["ledger"]["value"] is None
        assert answer["ledger"]["trouble"]["backend"] == "ledger"
        assert [(row["version"], row["status"]) for row in answer["versions"]] == [
            ("v-20230603-120000", ["quarantined"]),
            ("v-20230602-120000", ["left"]),
            ("v-20230601-120000", ["stable"]),
        ]
        newest = answer["versions"][0]
        assert newest["who"] == {"kind": "automation", "name": "model_release_spam"}
        run = run_of("spam", 3, "push")
        assert newest["run"] == {key: run[key] for key in ("dag_id", "run_id", "task_id")}
        assert (newest["dataset_version"], newest["blessed"], newest["trouble"]) == ("mnist-3", None, None)
        assert newest["metrics"] == {"accuracy": pytest.approx(0.93), "loss": pytest.approx(0.5 / 3)}
        assert newest["hyperparameters"]["layers"] == [16, 8]
        assert newest["serving_number"] == "20230603120000"
        assert newest["size"] == len("spam 3")

    def test_a_page_begins_where_it_is_asked_to(self, as_viewer: TestClient) -> None:
        answer = as_viewer.get("models/spam/versions", params={"limit": 1, "skip": 1}).json()
        assert [row["version"] for row in answer["versions"]] == ["v-20230602-120000"]
        assert (answer["total"], answer["skip"]) == (3, 1)

    def test_a_model_without_versions_has_an_empty_table(self, as_viewer: TestClient) -> None:
        answer = as_viewer.get("models/fresh/versions").json()
        assert (answer["versions"], answer["total"]) == ([], 0)

    @pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 201}, {"skip": -1}, {"skip": "x"}, {"skip": 10**30}])
    def test_a_page_that_makes_no_sense_is_refused(self, as_viewer: TestClient, params: dict[str, Any]) -> None:
        assert as_viewer.get("models/spam/versions", params=params).status_code == 422

    @pytest.mark.integration
    def test_the_ledger_tells_what_the_validation_said(self, as_viewer: TestClient, recorded: Path) -> None:
        answer = as_viewer.get("models/spam/versions").json()
        assert answer["ledger"] == {"value": True, "trouble": None}
        assert [row["blessed"] for row in answer["versions"]] == [True, True, True]
        assert {row["who"]["name"] for row in answer["versions"]} == {"model_release_spam"}
        assert answer["versions"][2]["run"]["run_id"] == "manual__1"


def test_pushes_are_looked_for_in_the_newest_entries_alone(story: PageStory) -> None:
    log = story.repository.log("spam")
    found = read_pushes(log, [V1.name, V3.name, "v-20990101-000000"])
    assert {name: each.run.run_id for name, each in found.items() if each.run} == {
        V1.name: "manual__1",
        V3.name: "manual__3",
    }
    assert read_pushes(log, []) == {}
