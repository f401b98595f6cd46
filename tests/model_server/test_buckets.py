"""Base paths in object storage: what is aspired, how a version comes to this machine, and what stays of it there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.model_server.bucket_loads import load_from_bucket
from airflow_model_ops.model_server.config_files import read_model_config
from airflow_model_ops.model_server.lifecycle import Lifecycle
from airflow_model_ops.model_server.model_list import All, Latest, ModelEntry, Specific, VersionPolicy
from airflow_model_ops.model_server.path_source import AspiredVersion, PathSource, scan
from airflow_model_ops.model_server.performance import Performance
from airflow_model_ops.model_server.places import place_of
from airflow_model_ops.model_server.servable import Servable
from airflow_model_ops.model_server.state_board import StateBoard
from airflow_model_ops.model_server.status import Code, StatusError
from tests.model_server.conftest import FakeServable


@pytest.fixture
def bucket() -> Iterator[str]:
    """The URL of a place in a store of this process."""
    url = f"memory://{uuid.uuid4().hex}"
    put(f"{url}/beside")
    yield url
    fsspec.filesystem("memory").rm(url, recursive=True)


def put(url: str, content: bytes = b"graph") -> None:
    fsspec.filesystem("memory").pipe_file(url, content)


def versions(bucket: str, *names: str) -> str:
    base = f"{bucket}/digits/versions"
    for name in names:
        put(f"{base}/{name}/saved_model.pb")
    return base


def remote(url: str) -> RemoteDirectory:
    place = place_of(url)
    assert isinstance(place, RemoteDirectory)
    return place


class Counted:
    """Counts what a file system is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        kind = type(fsspec.filesystem("memory"))
        for name in ("ls", "find", "cat_file", "get_file"):
            monkeypatch.setattr(kind, name, self._counting(name, getattr(kind, name)))

    def _counting(self, name: str, real: Any) -> Any:
        def counted(fs: Any, *args: Any, **kwargs: Any) -> Any:
            self.asked.append(name)
            return real(fs, *args, **kwargs)

        return counted


class TestAspiring:
    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (Latest(), [10]),
            (Latest(num_versions=2), [10, 9]),
            (All(), [10, 2, 9]),
            (Specific(versions=(2, 9)), [2, 9]),
            (Specific(versions=(2, 7)), [2]),
        ],
    )
    def test_each_policy_picks_its_versions(self, bucket: str, policy: VersionPolicy, expected: list[int]) -> None:
        base = versions(bucket, "2", "9", "10", "v-20230601-120000")
        found = scan(ModelEntry(name="digits", base_path=base, policy=policy))
        assert [version.number for version in found] == expected
        assert [str(version.path) for version in found] == [f"{base}/{number}" for number in expected]

    def test_one_look_costs_one_request_however_many_versions_and_files_there_are(
        self, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = versions(bucket, *(str(number) for number in range(20)))
        counted = Counted(monkeypatch)
        scan(ModelEntry(name="digits", base_path=base, policy=Specific(versions=(3, 4, 5))))
        assert counted.asked == ["ls"]

    def test_a_missing_base_path_is_told_in_tf_servings_words(self, bucket: str) -> None:
        with pytest.raises(StatusError, match=r"Could not find base path memory://.*for servable m") as caught:
            scan(ModelEntry(name="m", base_path=f"{bucket}/gone"))
        assert caught.value.code is Code.INVALID_ARGUMENT

    def test_a_bucket_that_does_not_answer_freezes_the_updates_and_unloads_nothing(
        self, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[str] = []
        source = PathSource(aspire=lambda name, _: told.append(name))
        source.update([ModelEntry(name="m", base_path=versions(bucket, "1"))])
        assert source.poll()

        def refused(*_: Any, **__: Any) -> None:
            raise ConnectionError("no route")

        with monkeypatch.context() as patched:
            patched.setattr(type(fsspec.filesystem("memory")), "ls", refused)
            assert not source.poll()
        assert told == ["m"]
        assert source.poll()

    def test_a_scheme_that_nobody_reads_is_told_in_tensorflows_words(self) -> None:
        with pytest.raises(StatusError, match="File system scheme 'nowhere' not implemented") as caught:
            place_of("nowhere://bucket/m")
        assert caught.value.code is Code.UNIMPLEMENTED


def test_the_list_of_models_may_be_in_the_bucket_too(bucket: str) -> None:
    """Servers start on the list that apply writes beside the logs."""
    url = f"{bucket}/_fleets/default/models.config"
    with pytest.raises(InvalidConfig, match=r"models\.config' cannot be read \(No such file"):
        read_model_config(url)
    put(url, b'model_config_list { config { name: "a" base_path: "gs://b/a" model_platform: "tensorflow" } }')
    assert read_model_config(url) == (ModelEntry(name="a", base_path="gs://b/a"),)


class TestLoading:
    def load(self, bucket: str, cache: Path, *, fails: bool = False) -> Servable:
        def read(path: Path) -> Servable:
            self.seen = {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()}
            if fails:
                raise StatusError(Code.INTERNAL, "broken graph")
            return FakeServable(version=1)

        return load_from_bucket(remote(f"{bucket}/digits/versions/1"), load=read, cache=cache)

    def test_the_copy_is_gone_once_the_version_is_loaded(self, bucket: str, tmp_path: Path) -> None:
        versions(bucket, "1")
        put(f"{bucket}/digits/versions/1/variables/variables.index")
        self.load(bucket, tmp_path)
        assert self.seen == {"saved_model.pb", "variables/variables.index"}
        assert list(tmp_path.iterdir()) == []

    def test_a_version_with_assets_keeps_its_copy_until_it_is_unloaded(self, bucket: str, tmp_path: Path) -> None:
        """A vocabulary may be read by the graph whenever a request comes."""
        versions(bucket, "1")
        put(f"{bucket}/digits/versions/1/assets/words.txt", b"a\nb\n")
        servable = self.load(bucket, tmp_path)
        assert [path.read_text() for path in tmp_path.rglob("words.txt")] == ["a\nb\n"]
        assert "serving_default" in servable.signatures
        assert servable.predict({"x": np.zeros(1)}, signature_name="serving_default")["y"].tolist() == [1.0]
        servable.close()
        assert list(tmp_path.iterdir()) == []

    def test_a_load_that_fails_leaves_no_copy(self, bucket: str, tmp_path: Path) -> None:
        versions(bucket, "1")
        with pytest.raises(StatusError, match="broken graph"):
            self.load(bucket, tmp_path, fails=True)
        assert list(tmp_path.iterdir()) == []

    def test_a_version_whose_graph_is_still_to_come_is_not_fetched_and_is_tried_again(
        self, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The graph is the last that a push stores, so without it nothing is complete."""
        put(f"{bucket}/digits/versions/1/variables/variables.index")
        counted = Counted(monkeypatch)

        def load(_: str, __: int, place: Any) -> Servable:
            return load_from_bucket(place, load=lambda _: FakeServable(version=1))

        def the_graph_comes(_: Any) -> bool:
            assert "get_file" not in counted.asked
            versions(bucket, "1")
            return False

        board = StateBoard()
        lifecycle = Lifecycle(load=load, board=board, max_load_retries=1, retry_wait=the_graph_comes)
        lifecycle.aspire("digits", [AspiredVersion(number=1, path=remote(f"{bucket}/digits/versions/1"))])
        lifecycle.settle()
        assert lifecycle.loaded() == [("digits", 1)]

    def test_a_version_without_a_graph_is_not_found_as_in_a_directory(self, bucket: str, tmp_path: Path) -> None:
        with pytest.raises(StatusError, match=r"Could not find SavedModel .pb or .pbtxt at .* memory://") as caught:
            self.load(bucket, tmp_path)
        assert caught.value.code is Code.NOT_FOUND

    def test_a_bucket_that_breaks_off_is_unavailable_and_leaves_no_copy(
        self, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        versions(bucket, "1")

        def breaks(*_: Any, **__: Any) -> None:
            raise ConnectionError("reset by peer")

        monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", breaks)
        with pytest.raises(StatusError, match="reset by peer") as caught:
            self.load(bucket, tmp_path)
        assert caught.value.code is Code.UNAVAILABLE
        assert list(tmp_path.iterdir()) == []


class TestPerformance:
    def test_a_manifest_in_the_bucket_is_read_once_and_not_at_every_scrape(
        self, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = versions(bucket, "1")
        manifest = {"version": {"number": "1"}, "metrics": {"accuracy": 0.9}}
        put(f"{bucket}/digits/manifests/v-1.json", json.dumps(manifest).encode())
        performance, counted = Performance(), Counted(monkeypatch)
        pages = [performance.page([("digits", 1, base)]) for _ in range(3)]
        assert pages[0][1] == 'model_version_performance{model="digits",version="v-1",metric="accuracy"} 0.9'
        assert pages[0] == pages[1] == pages[2]
        assert counted.asked == ["ls", "cat_file"]

    def test_a_bucket_without_the_manifest_is_asked_again_only_after_a_pause(
        self, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = versions(bucket, "1")
        performance, counted = Performance(), Counted(monkeypatch)
        assert [performance.page([("digits", 1, base)]) for _ in range(3)] == [[], [], []]
        assert counted.asked == ["ls"]
        eager = Performance(pause_seconds=0)
        assert eager.page([("digits", 1, base)]) == []
        put(f"{bucket}/digits/manifests/v-1.json", b'{"version": {"number": "1"}, "metrics": {"accuracy": 0.5}}')
        assert len(eager.page([("digits", 1, base)])) == 2
