"""Pushing what lies in a bucket: fetched to the worker, pushed, removed. The bucket is a store of this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.io.store import attach

from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.core.errors import InvalidConfig, NotASavedModel
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.hooks.saved_models import SavedModels, exports_in, remote_directory, shown_place
from airflow_model_ops.operators.push import PushModelOperator
from tests.airflow.release_story import Story, context_of

DIGITS = "digits"
SETTLE = 30.0


class OneBucket:
    """A bucket that only the connection ``exports`` opens."""

    def __init__(self) -> None:
        class Files(fsspec.get_filesystem_class("memory")):  # type: ignore[misc]
            """Shares nothing with any other store, and counts what is fetched."""

            store: dict[str, Any] = {}  # noqa: RUF012 - fsspec's own shape
            pseudo_dirs = [""]  # noqa: RUF012
            fetched: list[str] = []  # noqa: RUF012
            listed: list[str] = []  # noqa: RUF012
            cachable = False

            def get_file(self, rpath: str, lpath: Any, **kwargs: Any) -> None:
                self.fetched.append(rpath)
                super().get_file(rpath, lpath, **kwargs)

            def find(self, path: str, **kwargs: Any) -> Any:
                self.listed.append(path)
                return super().find(path, **kwargs)

        self.fs = Files()

    def export(self, url: str, graph: bytes = b"graph") -> None:
        self.fs.pipe_file(f"{url}/variables/variables.index", b"weights of " + graph)
        self.fs.pipe_file(f"{url}/saved_model.pb", graph)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> OneBucket:
    from airflow.sdk.io import store

    monkeypatch.setattr(store, "_STORE_CACHE", {})
    made = OneBucket()
    attach("memory", conn_id="exports", fs=made.fs)
    return made


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where copies are made; none may stay there."""
    place = tmp_path / "copies"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.glob("model-ops-*")) == []


URL = "memory://exports@models/run/7"


def push(story: Story, model: ModelFile | None = None, *, run_id: str = "manual__1", **fields: Any) -> Manifest:
    task = PushModelOperator(task_id="push", model=model or story.model, **fields)
    version = task.execute(context_of(run_id=run_id))["version"]
    return story.repository.manifest(DIGITS, story.model.naming().parse(version))


class TestASavedModelAtAUrl:
    def test_is_fetched_with_the_connection_that_the_url_names_and_pushed(
        self, story: Story, bucket: OneBucket
    ) -> None:
        bucket.export(URL.replace("exports@", ""))
        manifest = push(story, saved_model=URL, version="digits-v1.0.0")
        assert sorted(manifest.files) == ["saved_model.pb", "variables/variables.index"]
        assert manifest.source["path"] == "memory://models/run/7"

    def test_that_is_not_there_fails_at_once_and_names_the_place(self, story: Story, bucket: OneBucket) -> None:
        bucket.export("memory://models/run/7")
        with pytest.raises(AirflowFailException, match=r"'memory://models/run' holds no saved_model\.pb.*its parent"):
            push(story, saved_model="memory://exports@models/run", version="digits-v1.0.0")

    def test_of_a_store_that_does_not_answer_stays_retryable_and_leaves_no_copy(
        self, story: Story, bucket: OneBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket.export("memory://models/run/7")

        def breaks(*_: Any, **__: Any) -> None:
            raise ConnectionError("reset by peer")

        monkeypatch.setattr(type(bucket.fs), "get_file", breaks)
        with pytest.raises(AirflowException, match=r"cannot fetch 'run/7/.*reset by peer") as caught:
            push(story, saved_model=URL, version="digits-v1.0.0")
        assert not isinstance(caught.value, AirflowFailException)

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("gs:///m", r"'gs:///m' names no bucket; write it as gs://bucket/path"),
            ("nowhere://bucket/m", r"Airflow knows no file system for nowhere://; install the Airflow provider"),
        ],
    )
    def test_that_makes_no_sense_fails_at_once_with_the_remedy(self, story: Story, url: str, told: str) -> None:
        with pytest.raises(AirflowFailException, match=told):
            push(story, saved_model=url, version="digits-v1.0.0")

    def test_may_be_a_file_url(self, story: Story, tmp_path: Path) -> None:
        export = tmp_path / "an export"
        export.mkdir()
        (export / "saved_model.pb").write_bytes(b"graph")
        manifest = push(story, saved_model=export.as_uri(), version="digits-v1.0.0")
        assert list(manifest.files) == ["saved_model.pb"]


class TestExportsInABucket:
    @pytest.fixture
    def model(self, story: Story) -> ModelFile:
        source = {"export_dir": "memory://exports@models/exports", "settle": SETTLE}
        return ModelFile.model_validate({**story.model.model_dump(mode="json"), "source": source})

    def settled(self, bucket: OneBucket, *, seconds: float = SETTLE + 5) -> None:
        """Let time pass: the store says that everything was written so much earlier."""
        from datetime import timedelta

        for file in bucket.fs.store.values():
            file.created -= timedelta(seconds=seconds)
            file.modified -= timedelta(seconds=seconds)

    def names(self) -> set[str]:
        found = exports_in("memory://exports@models/exports/", settle_seconds=SETTLE, now=time.time())
        return {export.name for export in found}

    def test_an_export_is_complete_when_it_has_a_graph_and_nothing_changed_for_a_while(self, bucket: OneBucket) -> None:
        for name in ("1", "2", "temp-3", "4.tmp", ".5"):
            bucket.export(f"memory://models/exports/{name}")
        bucket.fs.pipe_file("memory://models/exports/6/variables/index", b"and no graph yet")
        bucket.fs.pipe_file("memory://models/exports/saved_model.pb", b"not in a directory of its own")
        assert self.names() == set()
        self.settled(bucket)
        assert self.names() == {"1", "2"}
        bucket.fs.pipe_file("memory://models/exports/2/assets/words", b"still being copied")
        assert self.names() == {"1"}

    def test_looking_for_them_is_one_listing_and_fetches_nothing(self, bucket: OneBucket) -> None:
        for number in range(5):
            bucket.export(f"memory://models/exports/{number}")
        self.settled(bucket)
        assert len(self.names()) == 5
        assert (len(bucket.fs.listed), bucket.fs.fetched) == (1, [])

    def test_the_newest_is_fetched_once_and_pushed(
        self, story: Story, model: ModelFile, bucket: OneBucket, copies: Path
    ) -> None:
        bucket.export("memory://models/exports/9", b"older")
        bucket.export("memory://models/exports/10", b"newest")
        self.settled(bucket)
        manifest = push(story, model, version="digits-v1.0.0")
        assert manifest.source["path"] == "memory://models/exports/10"
        assert len(bucket.fs.fetched) == len(manifest.files) == 2

    def test_without_any_the_task_is_skipped(self, story: Story, model: ModelFile, bucket: OneBucket) -> None:
        with pytest.raises(AirflowSkipException, match=r"memory://models/exports: no export to release"):
            push(story, model, version="digits-v1.0.0")


class TestCopies:
    def test_one_copy_is_kept_the_last_so_that_many_large_models_need_the_room_of_one(
        self, bucket: OneBucket, copies: Path
    ) -> None:
        for number in (1, 2):
            bucket.export(f"memory://models/{number}", str(number).encode())
        with SavedModels() as saved_models:
            first = saved_models.directory_of("memory://exports@models/1")
            assert saved_models.directory_of("memory://exports@models/1") == first
            assert len(bucket.fs.fetched) == 2
            second = saved_models.directory_of("memory://exports@models/2")
            assert (second / "saved_model.pb").read_bytes() == b"2"
            assert list(copies.iterdir()) == [second]

    def test_a_place_that_cannot_be_fetched_leaves_nothing_of_the_one_before(self, bucket: OneBucket) -> None:
        bucket.export("memory://models/1")
        with SavedModels() as saved_models:
            saved_models.directory_of("memory://exports@models/1")
            with pytest.raises(NotASavedModel):
                saved_models.directory_of("memory://exports@models/2")
            assert (saved_models.directory_of("memory://exports@models/1") / "saved_model.pb").exists()

    def test_a_directory_of_this_machine_is_taken_as_it_is(self, tmp_path: Path) -> None:
        with SavedModels() as saved_models:
            assert saved_models.directory_of(str(tmp_path)) == tmp_path
        assert tmp_path.is_dir()

    def test_places_of_a_repository_are_read_with_its_own_connection(self, bucket: OneBucket) -> None:
        bucket.export("memory://models/digits/versions/1")
        with SavedModels(repository="memory://models/digits", storage_conn_id="exports") as saved_models:
            assert saved_models.holds_a_graph("memory://models/digits/versions/1")
        with (
            SavedModels(repository="memory://models/dig", storage_conn_id="exports") as saved_models,
            pytest.raises(InvalidConfig, match="no file system for memory"),
        ):
            saved_models.holds_a_graph("memory://models/digits/versions/1")

    def test_a_package_that_is_missing_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        from airflow.sdk.io import store

        monkeypatch.setattr(store, "_STORE_CACHE", {})
        monkeypatch.setitem(sys.modules, "gcsfs", None)
        with pytest.raises(InvalidConfig, match=r"gs:// needs a package that is not installed.*extra `gcs`"):
            remote_directory("gs://bucket/m").names()

    def test_a_manifest_and_a_log_name_no_connection(self) -> None:
        assert shown_place("gs://conn@bucket/m/") == "gs://bucket/m"
        assert shown_place("/srv/conn@x") == "/srv/conn@x"
