"""The lineage graph of a version: what stands left and right of it, whose names it may tell, and what is left without a backend."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_model_ops.adapters.lineage.blast_radius import AffectedVersion
from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.rows import HistoryRow
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core import transitions
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.upstream import (
    SOURCE_KEY,
    UpstreamArtifact,
    UpstreamEvent,
    UpstreamExecution,
    UpstreamLineage,
)
from airflow_model_ops.plugin.backends import openings
from airflow_model_ops.plugin.datamodels.base import Backend, Part, Trouble
from airflow_model_ops.plugin.datamodels.versions import LineageGraph
from airflow_model_ops.plugin.lineage.downstream_graph import MOST_ENTRIES, MOST_VERSIONS, add_descendants, add_entries
from airflow_model_ops.plugin.lineage.graph_parts import GraphParts
from airflow_model_ops.plugin.lineage.lineage_graph import LedgerLineage, RepositoryLineage, graph_of
from airflow_model_ops.plugin.lineage.upstream_graph import MOST_INPUTS, add_upstream, is_cut
from tests.adapters.lineage_family import Family, artifact, trained, v
from tests.adapters.lineage_story import ADA, RUN
from tests.plugin.conftest import ledger_connection
from tests.plugin.page_story import PageStory, run_of

EXAMPLES = artifact(1, "Examples", uri="/data/june/")
FIRST, WARM, THIRD = artifact(10, "Model"), artifact(20, "Model"), artifact(30, "Model")
NO_LEDGER: Part[LedgerLineage] = Part(trouble=Trouble(backend=Backend.LEDGER, reason="it is away"))
HIDDEN = "a model you may not see"


def arrows(graph: LineageGraph | GraphParts) -> set[tuple[str, str, str]]:
    """Return the arrows by the labels of what they join."""
    labels = {node.id: node.label for node in graph.nodes}
    return {(labels[edge.source], edge.label, labels[edge.target]) for edge in graph.edges}


def kinds(graph: LineageGraph) -> dict[str, str]:
    return {node.label: node.kind for node in graph.nodes}


class TestDescendants:
    """``because`` is in the ledger's words, which name models."""

    found = (
        AffectedVersion(
            model="letters", version="v-3", serving_number="3", because="made from digits/v-2", pushed_at="t3"
        ),
        AffectedVersion(
            model="secret", version="v-5", serving_number="5", because="made from letters/v-3", pushed_at="t5"
        ),
        AffectedVersion(
            model="secret", version="v-6", serving_number="6", because="made from secret/v-5", pushed_at="t6"
        ),
        AffectedVersion(
            model="open", version="v-7", serving_number="7", because="made from secret/v-6", pushed_at="t7"
        ),
        AffectedVersion(
            model="digits", version="v-4", serving_number="4", because="pushed from the same artifact as digits/v-2"
        ),
    )

    def graph(self, readable: Collection[str]) -> GraphParts:
        graph = GraphParts()
        graph.add("version:digits/v-2", kind="version", label="v-2", column=0, model="digits")
        assert not add_descendants(graph, "digits", "v-2", self.found, readable=readable)
        return graph

    def test_each_is_drawn_from_what_it_was_made_from(self) -> None:
        assert arrows(self.graph({"digits", "letters", "secret", "open"})) == {
            ("v-2", "made from it", "v-3"),
            ("v-3", "made from it", "v-5"),
            ("v-5", "made from it", "v-6"),
            ("v-6", "made from it", "v-7"),
            ("v-2", "pushed from the same artifact", "v-4"),
        }

    def test_a_model_that_the_caller_may_not_see_is_named_nowhere(self) -> None:
        graph = self.graph({"digits", "letters", "open"})
        assert "secret" not in str([*graph.nodes, *graph.edges])
        assert [node.detail for node in graph.nodes if node.label == HIDDEN] == [{"versions": "2"}]
        assert [node.model for node in graph.nodes] == ["digits", "letters", "digits", None, "open"]
        assert {("v-3", "made from it", HIDDEN), (HIDDEN, "made from it", "v-7")} <= arrows(graph)

    def test_no_arrow_passes_a_column(self) -> None:
        """It would run behind the nodes of that column, as if it led to one of them."""
        graph = self.graph({"digits", "letters", "secret", "open"})
        columns = {node.id: node.column for node in graph.nodes}
        assert {columns[edge.target] - columns[edge.source] for edge in graph.edges} == {1}

    def test_a_circle_in_an_altered_ledger_is_drawn_and_ends(self) -> None:
        circle = [
            AffectedVersion(model="a", version="v-1", serving_number="1", because="made from b/v-1"),
            AffectedVersion(model="b", version="v-1", serving_number="1", because="made from a/v-1"),
        ]
        graph = GraphParts()
        assert not add_descendants(graph, "digits", "v-2", circle, readable={"a", "b"})
        assert len(graph.edges) == 2

    def test_more_than_fit_are_told_of(self) -> None:
        many = [replace(self.found[0], version=f"v-{number}") for number in range(MOST_VERSIONS + 1)]
        graph = GraphParts()
        assert add_descendants(graph, "digits", "v-2", many, readable={"letters"})
        assert len(graph.nodes) == MOST_VERSIONS


def row(sequence: int, name: str, *, release: str | None = None, version: str = "v-2", **more: Any) -> HistoryRow:
    fields: dict[str, Any] = {"generation": sequence, "at": f"t{sequence}", "kind": "fact", "percent": None, **more}
    return HistoryRow(
        sequence=sequence, name=name, version=version, actor="person ada", reason="why", release=release, **fields
    )


class TestEntries:
    def test_a_release_is_one_node_however_many_entries_it_has(self) -> None:
        rows = [
            row(9, "pin_golden"),
            row(8, "applied", release="r1"),
            row(7, "promote", release="r1", run=RUN, kind="transition"),
            row(6, "verdict", release="r1", detail={"verdict": "SAFE"}),
            row(5, "verdict", release="r0", version="v-1", detail={"verdict": "HARM"}),
            row(3, "applied"),
            row(2, "validated"),
            row(1, "pushed"),
        ]
        graph = GraphParts()
        graph.add("v", kind="version", label="v-2", column=0)
        assert not add_entries(graph, "v-2", rows, node="v")
        assert arrows(graph) == {
            ("v-2", "took part in", "pin golden"),
            ("v-2", "released in", "release r1"),
            ("v-2", "took part in", "release r0"),
            ("v-2", "took part in", "validated"),
        }
        (release,) = (node for node in graph.nodes if node.label == "release r1")
        assert release.detail == {
            "at": "t7",
            "by": "person ada",
            "what": "promote",
            "why": "why",
            "release": "r1",
            "entries": "3",
            "verdict": "SAFE",
        }

    def test_more_than_fit_are_told_of(self) -> None:
        graph = GraphParts()
        assert add_entries(graph, "v-2", [row(100 - n, "hold") for n in range(MOST_ENTRIES + 1)], node="v")
        assert len(graph.nodes) == MOST_ENTRIES


class TestUpstream:
    def test_a_training_that_began_with_another_ones_model_follows_it(self) -> None:
        trainer = "tfx.components.trainer.component.Trainer"
        lineage = UpstreamLineage(
            connection="tfx",
            artifact="20",
            artifacts=(WARM, FIRST, EXAMPLES),
            executions=(UpstreamExecution(id="8", type=trainer), UpstreamExecution(id="7", type=f"{trainer}2")),
            events=(
                UpstreamEvent(execution="8", artifact="20", output=True, role="model"),
                UpstreamEvent(execution="8", artifact="10", output=False, role="base_model"),
                UpstreamEvent(execution="7", artifact="10", output=True, role="model"),
                UpstreamEvent(execution="7", artifact="1", output=False, role="examples"),
            ),
        )
        graph = GraphParts()
        graph.add("v", kind="version", label="v-2", column=0)
        add_upstream(graph, lineage, version="v")
        assert arrows(graph) == {
            ("june", "examples", "Trainer2"),
            ("Trainer2", "base_model", "Trainer"),
            ("Trainer", "trained", "v-2"),
        }
        assert not is_cut(lineage)

    def test_examples_whose_training_is_not_known_lead_to_the_version(self) -> None:
        lineage = UpstreamLineage(connection="tfx", artifact="10", artifacts=(FIRST, EXAMPLES))
        graph = GraphParts()
        graph.add("v", kind="version", label="v-2", column=0)
        assert add_upstream(graph, lineage, version="v") == []
        assert arrows(graph) == {("june", "led to", "v-2")}

    def test_a_pipeline_with_very_many_inputs_is_cut_and_says_so(self) -> None:
        inputs = tuple(
            UpstreamArtifact(id=str(100 + n), type="Examples", uri=f"/d/{n}") for n in range(MOST_INPUTS + 1)
        )
        lineage = UpstreamLineage(connection="tfx", artifact="10", artifacts=(FIRST, *inputs))
        graph = GraphParts()
        add_upstream(graph, lineage, version="v")
        assert len(graph.nodes) == MOST_INPUTS
        assert is_cut(lineage)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Family, LedgerQueries]:
    """``digits`` 2, of examples and a dataset, rolled back; ``letters`` 3, warm-started from it; ``secret`` 5 from that."""
    family = Family(settings=LedgerSettings(path=tmp_path_factory.mktemp("ledger") / "mlmd.sqlite"))
    family.pushes("digits", v(1))
    family.promotes("digits", v(1))
    family.pushes("digits", v(2), dataset="digits@7", upstream=trained(FIRST, EXAMPLES), metrics={"accuracy": 0.97})
    family.stories["digits"].happens(FactKind.VALIDATED, v(2), "accuracy 0.96", detail={"blessed": True})
    family.promotes("digits", v(2))
    family.pushes("letters", v(3), upstream=trained(WARM, FIRST))
    family.pushes("secret", v(5), upstream=trained(THIRD, WARM))
    story = family.stories["digits"]
    story.decides(transitions.rollback(story.state, reason="late harm", actor=ADA), actor=ADA)
    queries = family.record()
    story.decides(transitions.pin_golden(story.state, version=v(2), actor=ADA), actor=ADA)
    return family, queries


def drawn(told: tuple[Family, LedgerQueries], *, readable: Collection[str] = (), **more: Any) -> LineageGraph:
    family, queries = told
    name, story = v(2).name, family.stories["digits"]
    ancestry = queries.ancestry("digits", version=name)
    led_to = queries.descendants("digits", version=name)
    fields: dict[str, Any] = {
        "repository": RepositoryLineage(
            manifest=family.manifests["digits", v(2)], is_there=True, state=story.state, newest=len(story.log.stored)
        ),
        "ledger": Part(value=LedgerLineage(ancestry=ancestry, descendants=led_to, recorded=ancestry.recorded)),
    }
    return graph_of("digits", name, readable={"digits", *readable}, **{**fields, **more})


@pytest.mark.integration
class TestTheWholeGraph:
    def test_data_and_training_stand_left_and_what_came_of_it_right(self, told: tuple[Family, LedgerQueries]) -> None:
        graph = drawn(told, readable={"letters"})
        assert arrows(graph) == {
            ("june", "examples", "Trainer"),
            ("digits@7", "trained on", "Trainer"),
            ("Trainer", "trained", v(2).name),
            ("2023-06-01T12:00:00", "pipeline run", v(2).name),
            ("model_release", "pushed", v(2).name),
            (v(2).name, "made from it", v(3).name),
            (v(3).name, "made from it", HIDDEN),
            (v(2).name, "took part in", "validated"),
            (v(2).name, "released in", f"release of {v(2)}"),
            (v(2).name, "took part in", "rollback"),
            (v(2).name, "is now", "golden"),
        }
        columns = {node.label: node.column for node in graph.nodes}
        assert columns["june"] == columns["digits@7"] == -2
        assert columns["Trainer"] == columns["model_release"] == -1
        assert [columns[label] for label in (v(2).name, v(3).name, HIDDEN, "golden")] == [0, 1, 2, 1]
        assert kinds(graph)["june"] == "examples"
        assert kinds(graph)["digits@7"] == "data"
        assert kinds(graph)["model_release"] == "run"
        assert not graph.truncated

    def test_runs_are_linked(self, told: tuple[Family, LedgerQueries]) -> None:
        runs = {node.label: node.run for node in drawn(told).nodes if node.run}
        assert set(runs) == {"model_release", "validated", f"release of {v(2)}"}
        assert {link.run_id for link in runs.values()} == {RUN["run_id"]}

    def test_what_the_ledger_does_not_know_yet_is_counted(self, told: tuple[Family, LedgerQueries]) -> None:
        assert drawn(told).behind == 1

    def test_without_a_ledger_the_manifest_and_the_state_are_drawn(self, told: tuple[Family, LedgerQueries]) -> None:
        graph = drawn(told, ledger=NO_LEDGER)
        assert arrows(graph) == {
            ("june", "examples", "Trainer"),
            ("digits@7", "trained on", "Trainer"),
            ("Trainer", "trained", v(2).name),
            ("2023-06-01T12:00:00", "pipeline run", v(2).name),
            (v(2).name, "is now", "golden"),
        }
        assert (graph.ledger.trouble, graph.behind) == (NO_LEDGER.trouble, 0)

    def test_without_a_repository_the_ledger_tells_the_same_but_for_the_present(
        self, told: tuple[Family, LedgerQueries]
    ) -> None:
        whole, left = drawn(told), drawn(told, repository=None)
        assert arrows(whole) - arrows(left) == {(v(2).name, "is now", "golden")}
        assert arrows(left) < arrows(whole)

    def test_a_lineage_that_cannot_be_read_is_said_at_the_version(self, told: tuple[Family, LedgerQueries]) -> None:
        manifest = replace(told[0].manifests["digits", v(2)], source={SOURCE_KEY: {"connection": "tfx"}})
        graph = drawn(told, repository=RepositoryLineage(manifest=manifest, is_there=True, state=None, newest=0))
        (version,) = (node for node in graph.nodes if node.column == 0)
        assert "cannot be read" in version.detail["upstream"]
        assert version.detail["metrics"] == "accuracy 0.97"


class TestTheAnswer:
    def test_nobody_and_strangers_see_no_lineage(self, as_nobody: TestClient, as_stranger: TestClient) -> None:
        path = "models/spam/versions/v-20230602-120000/lineage"
        assert as_nobody.get(path).status_code == 401
        assert as_stranger.get(path).status_code == 404

    @pytest.mark.parametrize("missing", ["v-20990101-000000", "2", "v-20230602-120000.json", "%2e%2e"])
    def test_a_version_that_is_not_there_is_named(self, as_viewer: TestClient, missing: str) -> None:
        answer = as_viewer.get(f"models/spam/versions/{missing}/lineage")
        assert answer.status_code == 404

    def test_a_dead_ledger_leaves_what_manifest_log_and_state_tell(self, as_viewer: TestClient) -> None:
        graph = as_viewer.get("models/spam/versions/v-20230601-120000/lineage").json()
        assert graph["ledger"]["trouble"]["backend"] == "ledger"
        labels = [(node["kind"], node["label"]) for node in graph["nodes"]]
        assert labels == [
            ("version", "v-20230601-120000"),
            ("data", "mnist-1"),
            ("run", "model_release_spam"),
            ("serving", "stable"),
        ]
        push = graph["nodes"][2]
        assert push["run"]["run_id"] == run_of("spam", 1, "push")["run_id"]
        assert graph["nodes"][3]["detail"] == {"traffic": "100 %"}

    @pytest.mark.integration
    def test_the_ledger_adds_releases_and_says_how_far_it_is(self, as_viewer: TestClient, recorded: Path) -> None:
        graph = as_viewer.get("models/spam/versions/v-20230603-120000/lineage").json()
        assert (graph["ledger"]["value"], graph["behind"]) == (True, 0)
        (release,) = (node for node in graph["nodes"] if node["label"] == "release manual__3")
        assert release["detail"]["verdict"] == "HARM"
        assert release["run"]["dag_id"] == "model_release_spam"

    @pytest.mark.integration
    def test_a_version_that_is_not_recorded_yet_is_drawn_from_its_manifest(
        self, as_viewer: TestClient, recorded: Path, story: PageStory
    ) -> None:
        graph = as_viewer.get("models/tags/versions/v-20230601-120000/lineage").json()
        last = story.repository.log("tags").last()
        assert last is not None
        assert (graph["ledger"]["value"], graph["behind"]) == (True, last.sequence)
        assert [node["label"] for node in graph["nodes"]][1:] == ["mnist-1", "model_release_tags", "golden"]

    @pytest.mark.integration
    def test_a_dead_repository_leaves_what_the_ledger_has_and_both_dead_say_so(
        self, as_viewer: TestClient, recorded: Path, story: PageStory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> None:
            raise RepositoryUnavailable("the file system is not mounted")

        monkeypatch.setattr(story.repository, "known_versions", away)
        path = "models/spam/versions/v-20230602-120000/lineage"
        assert {node["kind"] for node in as_viewer.get(path).json()["nodes"]} >= {"version", "data", "run", "entry"}
        monkeypatch.setenv("AIRFLOW_CONN_MLMD_DEFAULT", ledger_connection(recorded.with_name("absent.sqlite")))
        openings.forget()
        answer = as_viewer.get(path)
        assert answer.status_code == 503
        assert answer.json()["trouble"] == {"backend": "repository", "reason": "the file system is not mounted"}
