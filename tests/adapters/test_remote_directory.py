"""A directory of a bucket as fsspec shows it; here its in-memory file system, which is as flat as a bucket."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory, bare_url, is_remote, open_remote
from airflow_model_ops.core.errors import NotASavedModel, RepositoryUnavailable

FILES = fsspec.filesystem("memory")


@pytest.fixture
def remote() -> Iterator[RemoteDirectory]:
    url = f"memory://{uuid.uuid4().hex}/models"
    FILES.pipe_file(f"{url.removesuffix('/models')}/beside", b"")
    yield open_remote(url, lambda: FILES)
    FILES.rm(url.removesuffix("/models"), recursive=True)


def put(remote: RemoteDirectory, **files: bytes) -> None:
    for name, content in files.items():
        FILES.pipe_file(f"{remote.url}/{name.replace('__', '/')}", content)


@pytest.mark.parametrize(
    ("place", "remotely"),
    [("gs://b/m", True), ("s3://b", True), ("memory://x", True), ("/srv/m", False), ("m", False), ("file:///m", False)],
)
def test_what_is_in_object_storage_is_told_by_its_scheme(place: str, remotely: bool) -> None:
    assert is_remote(place) is remotely


@pytest.mark.parametrize("url", ["gs://b/m/v", "GS://b/m/v", "gs://b/m/v/", "gs://conn@b/m/v", "gs://conn@b/m/v//"])
def test_a_bare_url_has_no_connection_and_no_slash_at_its_end(url: str) -> None:
    assert bare_url(url) == "gs://b/m/v"


def test_an_at_sign_in_a_key_is_no_connection() -> None:
    assert bare_url("s3://b/user@host/m") == "s3://b/user@host/m"


def test_names_are_those_directly_below_and_files_those_at_any_depth(remote: RemoteDirectory) -> None:
    put(remote, saved_model=b"graph", variables__index=b"12", variables__deep__data=b"3")
    assert remote.names() == ("saved_model", "variables")
    assert [(file.name, file.size) for file in remote.files()] == [
        ("saved_model", 5),
        ("variables/deep/data", 1),
        ("variables/index", 2),
    ]
    assert (remote / "variables").parent.url == remote.url
    assert (remote / "variables").name == "variables"


def test_what_is_not_there_has_no_names_and_no_files_and_cannot_be_fetched(
    remote: RemoteDirectory, tmp_path: Path
) -> None:
    assert remote.names() == ()
    assert remote.files() == ()
    with pytest.raises(NotASavedModel, match=r"there is nothing at 'memory://"):
        remote.fetch(tmp_path / "copy")


def test_a_fetched_copy_holds_every_file_where_it_was(remote: RemoteDirectory, tmp_path: Path) -> None:
    put(remote, saved_model=b"graph", variables__deep__data=b"3", assets__empty=b"")
    remote.fetch(tmp_path / "copy")
    found = {
        str(path.relative_to(tmp_path / "copy")): path.read_bytes()
        for path in (tmp_path / "copy").rglob("*")
        if path.is_file()
    }
    assert found == {"saved_model": b"graph", "variables/deep/data": b"3", "assets/empty": b""}


@pytest.mark.parametrize("name", ["../out", "a/../../out", "a\\out"])
def test_a_name_that_leads_out_of_the_copy_is_refused(remote: RemoteDirectory, tmp_path: Path, name: str) -> None:
    class Odd:
        def invalidate_cache(self) -> None: ...

        def find(self, path: str, **_: Any) -> dict[str, Any]:
            return {"odd": {"name": f"{path}/{name}", "size": 1, "type": "file"}}

    with pytest.raises(NotASavedModel, match="no file name"):
        open_remote(remote.url, Odd).fetch(tmp_path / "copy")
    assert not (tmp_path / "out").exists()


def test_what_no_disk_can_hold_is_refused_and_not_fetched_in_part(tmp_path: Path) -> None:
    """s3fs leaves out a file without a word where a directory of its name is already."""

    class Odd:
        def invalidate_cache(self) -> None: ...

        def find(self, path: str, **_: Any) -> dict[str, Any]:
            return {name: {"name": f"{path}/{name}", "size": 1, "type": "file"} for name in ("assets", "assets/a/b")}

    with pytest.raises(NotASavedModel, match="object 'assets' and another below it, 'assets/a/b'"):
        open_remote("memory://bucket/models", Odd).fetch(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_disk_that_is_full_is_not_told_as_trouble_of_the_store(
    remote: RemoteDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    put(remote, saved_model=b"graph")
    monkeypatch.setattr(type(FILES), "get_file", full)
    with pytest.raises(RepositoryUnavailable, match=r"this machine says.*No space left on device; make room"):
        remote.fetch(tmp_path / "copy")


def test_what_changes_while_it_is_fetched_is_no_copy(
    remote: RemoteDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of one model and half of another would be pushed as one that nobody trained."""
    put(remote, saved_model=b"graph", weights=b"old")
    get = FILES.get_file

    def overwritten(_: Any, *args: Any, **kwargs: Any) -> None:
        get(*args, **kwargs)
        put(remote, weights=b"new")

    monkeypatch.setattr(type(FILES), "get_file", overwritten)
    with pytest.raises(RepositoryUnavailable, match="changed while it was fetched"):
        remote.fetch(tmp_path / "copy")


def test_trouble_of_the_store_names_the_place_and_what_to_look_at(
    remote: RemoteDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(FILES), "ls", refused)
    with pytest.raises(RepositoryUnavailable, match=r"cannot list 'models/'.*may not do that.*Access Denied") as caught:
        remote.names()
    assert caught.value.retryable
