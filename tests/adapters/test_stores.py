"""What every object store promises, asked of real servers: fake-gcs-server and moto's S3, and of any other fsspec store."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec.implementations.memory
import pytest

from airflow_model_ops.adapters.repository import store_uploads
from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore
from airflow_model_ops.adapters.repository.gcs_store import GcsStore
from airflow_model_ops.adapters.repository.object_store import Upload
from airflow_model_ops.adapters.repository.s3_store import S3Store
from airflow_model_ops.adapters.repository.store_faults import in_words
from airflow_model_ops.core.errors import (
    InvalidConfig,
    NotASavedModel,
    RepositoryUnavailable,
    RepositoryUnsuitable,
    VersionExists,
    VersionNotFound,
)
from tests.adapters.bucket_rig import ROOT, BucketServer, open_gcs, open_s3
from tests.waits import until

RACES = 40
LONG_RACES = 1000
PART_BYTES = 5 << 20
"""The least that S3 takes, so that these tests are quick."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_uploads, "PART_BYTES", PART_BYTES)


class SharedMemory(fsspec.implementations.memory.MemoryFileSystem):  # type: ignore[misc]
    """An fsspec store with conditional writes in one step, of another scheme than those we know."""

    protocol = "shared"
    store: dict[str, Any] = {}  # noqa: RUF012 - as fsspec has it
    pseudo_dirs = [""]  # noqa: RUF012
    _one_at_a_time = threading.Lock()

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        with self._one_at_a_time:
            super().pipe_file(path, value, mode=mode, **options)


class Careless(SharedMemory):
    """One that ignores ``mode``, as several do."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        super().pipe_file(path, value)


@pytest.fixture(
    params=[
        pytest.param("gcs", marks=pytest.mark.integration),
        pytest.param("s3", marks=pytest.mark.integration),
        "other",
    ]
)
def new_store(request: pytest.FixtureRequest) -> Callable[[str], FsspecStore]:
    """Make a store with a prefix in a fresh bucket."""
    if request.param == "other":
        bucket = f"bucket-{os.urandom(4).hex()}"
        SharedMemory().mkdir(bucket)
        return lambda prefix: FsspecStore(SharedMemory, f"shared://{bucket}/{prefix}")
    server: BucketServer = request.getfixturevalue(f"{request.param}_server")
    return server.new_store


@pytest.fixture
def store(new_store: Callable[[str], FsspecStore]) -> FsspecStore:
    return new_store("models/of team")


@pytest.fixture(params=["gcs", "s3"])
def server(request: pytest.FixtureRequest) -> BucketServer:
    found: BucketServer = request.getfixturevalue(f"{request.param}_server")
    return found


def upload_of(path: Path, key: str = "digits/versions/1/variables") -> Upload:
    content = path.read_bytes()
    return Upload(key=key, path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def a_file(path: Path, size: int, *, seed: int = 0) -> Path:
    path.write_bytes((hashlib.sha256(str(seed).encode()).digest() * (size // 32 + 1))[:size])
    return path


class TestObjects:
    def test_an_object_comes_back_as_it_was_written(self, store: FsspecStore) -> None:
        store.put("digits/log/1.json", b"\x00\xff one")
        store.put("digits/log/1.json", b"two")
        found = store.find("digits/log/1.json")
        assert found is not None
        assert (found.key, found.size) == ("digits/log/1.json", 3)
        assert store.get("digits/log/1.json") == b"two"
        assert store.get_many(["digits/log/1.json", "digits/log/2.json"]) == {"digits/log/1.json": b"two"}
        assert (store.get("digits/log"), store.find("digits/log"), store.get("digits/log/")) == (None, None, None)

    def test_a_token_names_a_content(self, store: FsspecStore) -> None:
        tokens = []
        for content in (b"one", b"two"):
            store.put("digits/evidence", content)
            found = store.find("digits/evidence")
            assert found is not None
            assert found == next(iter(store.list("digits/evidence")))
            tokens.append(found.token)
        assert tokens[0] != tokens[1]

    def test_a_name_is_given_once_and_the_same_bytes_have_won(self, store: FsspecStore) -> None:
        """A first answer may be lost on the way: then the repeated write finds its own bytes."""
        assert store.put_if_absent("digits/log/1.json", b"one")
        assert not store.put_if_absent("digits/log/1.json", b"two")
        assert store.put_if_absent("digits/log/1.json", b"one")
        assert store.get("digits/log/1.json") == b"one"

    @pytest.mark.parametrize("key", ["a b/ü+%2F&=?#/日本.json", "a{}/{b}"])
    def test_keys_may_have_any_letters(self, store: FsspecStore, key: str) -> None:
        assert store.put_if_absent(key, b"x")
        assert not store.put_if_absent(key, b"y")
        assert store.get(key) == b"x"
        assert [one.key for one in store.list("a")] == [key]
        assert store.names("") == (key.partition("/")[0],)
        store.delete([key])
        assert store.get(key) is None

    def test_a_prefix_is_letters_and_names_are_parts(self, store: FsspecStore) -> None:
        for key in ("a/1", "a/b/2", "ab/3", "c"):
            store.put(key, b"")
        assert [one.key for one in store.list("a/")] == ["a/1", "a/b/2"]
        assert [one.key for one in store.list("a")] == ["a/1", "a/b/2", "ab/3"]
        assert (store.names(""), store.names("a/"), store.names("x/")) == (("a", "ab", "c"), ("1", "b"), ())

    def test_what_others_wrote_since_the_last_listing_is_seen(self, store: FsspecStore) -> None:
        other = type(store)(store._open_fs, store.uri)
        for number in range(3):
            assert store.find(f"log/{number}") is None
            other.put(f"log/{number}", b"x")
            assert store.find(f"log/{number}") is not None
            assert len(list(store.list("log/"))) == len(store.names("log/")) == number + 1

    def test_deleting_is_repeatable(self, store: FsspecStore) -> None:
        keys = [f"a/{number}" for number in range(5)]
        for key in keys[1:]:
            store.put(key, b"x")
        store.delete(keys)
        store.delete(keys)
        store.delete([])
        assert list(store.list("")) == []

    def test_a_bucket_may_be_the_root(self, new_store: Callable[[str], FsspecStore]) -> None:
        store = new_store("")
        assert store.uri == f"{store.scheme}://{store.bucket}"
        assert store.names("") == ()
        assert store.put_if_absent("digits/log/1.json", b"x")
        assert store.names("") == ("digits",)
        assert [one.key for one in store.list("")] == ["digits/log/1.json"]

    def test_of_a_bucket_only_the_prefix_is_seen(self, new_store: Callable[[str], FsspecStore]) -> None:
        inside = new_store("team/")
        around = type(inside)(inside._open_fs, f"{inside.scheme}://{inside.bucket}")
        around.put("teams/a", b"x")
        around.put("team/b", b"x")
        assert [one.key for one in inside.list("")] == ["b"]
        assert inside.names("") == ("b",)

    def test_more_objects_than_a_page_holds_are_all_listed(
        self, new_store: Callable[[str], FsspecStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("gcs_store", "s3_store"):
            monkeypatch.setattr(f"airflow_model_ops.adapters.repository.{module}._PAGE", 7)
        monkeypatch.setattr("airflow_model_ops.adapters.repository.s3_store._MOST_DELETED", 7)
        store = new_store("models")
        keys = [f"log/{number:05d}" for number in range(30)]
        for key in keys:
            store.put(key, b"")
        assert [one.key for one in store.list("")] == keys
        assert store.names("log/") == tuple(key.removeprefix("log/") for key in keys)
        store.delete(keys)
        assert list(store.list("")) == []

    def test_a_store_is_trusted_once_it_proved_itself(self, store: FsspecStore) -> None:
        store.check_suitable()
        assert list(store.list("")) == []


class TestUploads:
    def test_files_of_any_size_arrive_and_are_not_sent_twice(self, store: FsspecStore, tmp_path: Path) -> None:
        sizes = (0, 5, PART_BYTES, PART_BYTES + 1)
        uploads = [upload_of(a_file(tmp_path / str(size), size), f"v/1/{size} ü") for size in sizes]
        told: list[int] = []
        stored = store.upload(uploads, progress=told.append)
        assert sum(told) == sum(sizes)
        assert stored == {one.key: one for one in store.list("v/1/")} | stored
        assert {key: one.size for key, one in stored.items()} == {upload.key: upload.size for upload in uploads}
        for upload in uploads:
            store.download(upload.key, tmp_path / "fetched")
            assert (tmp_path / "fetched").read_bytes() == upload.path.read_bytes()
            (tmp_path / "fetched").unlink()
        for upload in uploads:
            upload.path.unlink()  # nothing needs to be read again
        again: list[int] = []
        assert {key: one.token for key, one in store.upload(uploads, progress=again.append).items()} == {
            key: one.token for key, one in stored.items()
        }
        assert sum(again) == sum(sizes)
        assert [one.key for one in store.list("") if not one.key.startswith("v/1/")] == []

    @pytest.mark.parametrize("size", [100, PART_BYTES + 100])
    def test_other_content_is_never_replaced(self, store: FsspecStore, tmp_path: Path, size: int) -> None:
        ours, theirs = (upload_of(a_file(tmp_path / str(seed), size, seed=seed)) for seed in (1, 2))
        store.upload([theirs], progress=lambda _: None)
        with pytest.raises(VersionExists, match="with other content"):
            store.upload([ours], progress=lambda _: None)
        found = store.stored_file(theirs.key)
        assert found is not None
        assert found[1] == theirs.sha256

    @pytest.mark.parametrize("sizes", [(10,) * 30, (10 * PART_BYTES,)])
    def test_an_error_of_the_listener_ends_the_upload(
        self, store: FsspecStore, tmp_path: Path, sizes: tuple[int, ...]
    ) -> None:
        """It says so when the push has lost its claim: nothing more is begun."""
        uploads = [upload_of(a_file(tmp_path / str(n), size), f"v/1/{n}") for n, size in enumerate(sizes)]
        told: list[int] = []

        def lost(count: int) -> None:
            told.append(count)
            raise VersionExists("the claim is lost")

        with pytest.raises(VersionExists, match="the claim is lost"):
            store.upload(uploads, progress=lost)
        assert len(told) <= store_uploads.WORKERS
        assert len(list(store.list("v/1/"))) <= min(len(told), len(uploads))

    @pytest.mark.parametrize("size", [100, PART_BYTES + 100])
    def test_a_file_that_changes_while_it_is_pushed_never_appears(
        self, store: FsspecStore, tmp_path: Path, size: int
    ) -> None:
        upload = replace(upload_of(a_file(tmp_path / "file", size)), sha256="0" * 64)
        with pytest.raises(NotASavedModel, match="changed while it was uploaded"):
            store.upload([upload], progress=lambda _: None)
        assert list(store.list("")) == []

    @pytest.mark.parametrize("size", [100, PART_BYTES + 100])
    def test_a_file_that_vanishes_before_it_is_sent_is_a_changed_export(
        self, store: FsspecStore, tmp_path: Path, size: int
    ) -> None:
        upload = upload_of(a_file(tmp_path / "file", size))
        upload.path.unlink()
        with pytest.raises(NotASavedModel, match="changed while it was uploaded"):
            store.upload([upload], progress=lambda _: None)

    @pytest.mark.parametrize("size", [100, PART_BYTES + 100])
    def test_of_rivals_with_one_key_one_content_wins(self, store: FsspecStore, tmp_path: Path, size: int) -> None:
        if isinstance(store, GcsStore) and size > PART_BYTES:
            pytest.skip("fake-gcs-server composes whatever is there; that GCS is asked not to is the next test")
        uploads = [upload_of(a_file(tmp_path / str(seed), size, seed=seed)) for seed in (1, 1, 2)]

        def push(upload: Upload) -> str | None:
            try:
                store.upload([upload], progress=lambda _: None)
            except VersionExists:
                return None
            return upload.sha256

        with ThreadPoolExecutor(3) as pool:
            won = {sha256 for sha256 in pool.map(push, uploads) if sha256}
        store.download(uploads[0].key, tmp_path / "fetched")
        assert won == {upload_of(tmp_path / "fetched").sha256}

    def test_what_people_put_there_is_compared_by_its_bytes(self, store: FsspecStore, tmp_path: Path) -> None:
        upload = upload_of(a_file(tmp_path / "file", 100))
        store.put(upload.key, upload.path.read_bytes())
        assert store.upload([upload], progress=lambda _: None)[upload.key].size == 100
        store.put(upload.key, b"x" * 100)
        with pytest.raises(VersionExists):
            store.upload([upload], progress=lambda _: None)

    def test_what_is_not_there_cannot_be_fetched(self, store: FsspecStore, tmp_path: Path) -> None:
        with pytest.raises(VersionNotFound, match="'v/1/x' is not in"):
            store.download("v/1/x", tmp_path / "x")
        assert not (tmp_path / "x").exists()


@pytest.mark.integration
class TestVendors:
    def test_the_store_refuses_bytes_that_differ_from_their_digest(self, server: BucketServer) -> None:
        store = server.new_store()
        if server.scheme == "s3":  # its client repeats such a write, waiting longer each time
            store = S3Store(lambda: open_s3(server.url, config_kwargs={"retries": {"max_attempts": 0}}), store.uri)
        with pytest.raises(RepositoryUnavailable):
            send_with_wrong_digest(store, "a", b"bytes that were torn on the way")
        assert store.get("a") is None

    @pytest.mark.parametrize(("adds_crc", "sent"), [("when_supported", 2), ("when_required", 3)])
    def test_a_part_is_sent_with_its_md5_if_nobody_checks_its_crc(
        self, s3_server: BucketServer, tmp_path: Path, adds_crc: str, sent: int
    ) -> None:
        """Older servers do not know the CRC32 that boto adds, and for them clients are set up not to add one."""
        root = s3_server.new_store().uri
        options = {"config_kwargs": {"request_checksum_calculation": adds_crc}}
        store = S3Store(lambda: open_s3(s3_server.url, **options), root)
        upload = upload_of(a_file(tmp_path / "file", PART_BYTES + 1))
        with mock.patch.object(store_uploads, "WORKERS", 1):
            stored = store.upload([upload], progress=lambda _: None)[upload.key]
        found = store.find(upload.key)
        assert found is not None
        assert (stored.token, stored.size) == (found.token, found.size)
        requests = [json.loads(line) for line in s3_server.log.read_text().splitlines()]
        parts = [
            one for one in requests if one["path"].startswith(f"/{store.bucket}/") and "partNumber" in one["query"]
        ]
        assert len(parts) == sent
        assert [one["bytes"] for one in parts[-2:]] == [PART_BYTES, 1]

    def test_a_file_of_many_parts_is_composed_level_by_level(
        self, gcs_server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """GCS composes 32 objects at once."""
        monkeypatch.setattr(store_uploads, "PART_BYTES", 1 << 16)
        store, upload = gcs_server.new_store(), upload_of(a_file(tmp_path / "file", 70 << 16))
        store.upload([upload], progress=lambda _: None)
        store.download(upload.key, tmp_path / "fetched")
        assert upload_of(tmp_path / "fetched").sha256 == upload.sha256
        assert [one.key for one in store.list("")] == [upload.key]

    def test_a_composition_is_asked_for_only_where_nothing_is(self, gcs_server: BucketServer, tmp_path: Path) -> None:
        store, upload = gcs_server.new_store(), upload_of(a_file(tmp_path / "file", PART_BYTES + 1), "v/1/large")
        store.upload([upload], progress=lambda _: None)
        place = f"/b/{store.bucket}/o/models%2Fv%2F1%2Flarge/compose?ifGenerationMatch=0"
        assert place in gcs_server.log.read_text()

    def test_a_killed_upload_is_gone_on_with(self, server: BucketServer, tmp_path: Path) -> None:
        """SIGKILL in the middle of a large file: the retry sends only what is missing."""
        size = 6 * PART_BYTES
        store, file = server.new_store(), a_file(tmp_path / "variables", 6 * PART_BYTES)
        upload = upload_of(file)
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.adapters.store_children",
                server.scheme,
                server.url,
                store.uri,
                str(file),
                str(PART_BYTES),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with child:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stdout.readline().startswith(b"stored ")
            child.stdin.write(b"go on\n")
            child.stdin.flush()
            assert child.stdout.readline().startswith(b"stored ")
            child.send_signal(signal.SIGKILL)
        assert store.find(upload.key) is None
        parts = store.parted(upload)
        assert parts is not None
        kept = parts.stored()
        assert 2 <= len(kept) < 6
        sent: list[int] = []
        counted(store, sent)
        told: list[int] = []
        store.upload([upload], progress=told.append)
        assert sum(sent) == size - len(kept) * PART_BYTES
        assert sum(told) == size
        store.download(upload.key, tmp_path / "fetched")
        assert upload_of(tmp_path / "fetched").sha256 == upload.sha256
        assert [one.key for one in store.list("")] == [upload.key]

    def test_parts_that_nobody_goes_on_with_are_removed(self, server: BucketServer, tmp_path: Path) -> None:
        store, upload = server.new_store(), upload_of(a_file(tmp_path / "file", PART_BYTES + 1))
        parts = store.parted(upload)
        assert parts is not None
        content = upload.path.read_bytes()[:PART_BYTES]
        parts.send(1, content)
        begun = min(one.modified for one in store.list("_parts/"))
        store.remove_orphans(before=begun - 60)
        assert len(parts.stored()) == 1
        store.remove_orphans(before=begun + 60)
        assert list(store.list("")) == []
        if isinstance(store, S3Store):
            assert store.call("list_multipart_uploads").get("Uploads", []) == []

    def test_what_others_left_among_the_parts_is_in_no_uploads_way(self, server: BucketServer, tmp_path: Path) -> None:
        """A bucket copied from another store has that one's parts."""
        store, upload = server.new_store(), upload_of(a_file(tmp_path / "file", PART_BYTES + 1))
        parts = store.parted(upload)
        for key in [one.key for one in store.list("_parts/")]:
            store.put(key, b"{}")
        del parts
        store.put(f"_parts/{'0' * 64}-5/00001", b"\xff part")
        store.upload([upload], progress=lambda _: None)
        store.download(upload.key, tmp_path / "fetched")
        assert upload_of(tmp_path / "fetched").sha256 == upload.sha256

    @pytest.mark.parametrize("code", ["500", "503", "InternalError", "TooManyRequests"])
    def test_a_store_in_trouble_is_waited_for_and_not_searched_for(self, code: str) -> None:
        class Refusal(OSError):
            response = {"Error": {"Code": code}}  # noqa: RUF012 - as botocore has it

        with (
            pytest.raises(RepositoryUnavailable, match=r"in trouble, or asks for fewer requests.*try again later"),
            in_words("read 'a'", "s3://bucket/models"),
        ):
            raise Refusal("words of the store")

    def test_a_bucket_that_is_missing_is_named(self, server: BucketServer, tmp_path: Path) -> None:
        store = server.store(f"{server.scheme}://no-such-bucket-here/models")
        asks: list[Callable[[], Any]] = [
            lambda: store.get("a"),
            lambda: store.find("a"),
            lambda: list(store.list("")),
            lambda: store.names(""),
            lambda: store.put("a", b""),
            lambda: store.put_if_absent("a", b""),
            lambda: store.download("a", tmp_path / "a"),
            store.check_suitable,
        ]
        for ask in asks:
            with pytest.raises(RepositoryUnavailable, match="no such bucket"):
                ask()

    def test_a_store_that_does_not_answer_is_not_waited_for_long(
        self, server: BucketServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_model_ops.adapters.repository.store_requests.SECONDS", 1.0)
        monkeypatch.setattr("airflow_model_ops.adapters.repository.gcs_store.SECONDS", 1.0)
        kind, open_fs = (GcsStore, open_gcs) if server.scheme == "gs" else (S3Store, open_s3)
        dead = kind(lambda: open_fs("http://127.0.0.1:9"), f"{server.scheme}://bucket/models")
        with pytest.raises(RepositoryUnavailable, match="try again"):
            dead.put("a", b"")

    def test_a_write_that_may_cover_what_is_newer_is_tried_no_longer_than_it_is_told(
        self, server: BucketServer
    ) -> None:
        """Else the client's own repetitions bring it half a minute later, when the store answers again."""
        kind, open_fs = (GcsStore, open_gcs) if server.scheme == "gs" else (S3Store, open_s3)
        dead = kind(lambda: open_fs("http://127.0.0.1:9"), f"{server.scheme}://bucket/models")
        assert dead.fs is not None  # a client takes a second to make
        began = time.monotonic()
        with pytest.raises(RepositoryUnavailable, match="did not answer in time"):
            dead.put("a", b"", within=0.2)
        assert time.monotonic() - began < 20

    def test_a_store_is_used_before_and_after_a_fork(self, server: BucketServer) -> None:
        """Airflow forks task processes; an event loop does not survive one."""
        store = server.new_store()
        assert store.put_if_absent("before", b"x")
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if store.put_if_absent("after", b"y") and store.get("before") == b"x" else 1)
            except BaseException:  # noqa: BLE001 - a forked child must not go on with the tests
                os._exit(2)
        status: list[int] = []

        def has_ended() -> bool:
            pid, code = os.waitpid(child, os.WNOHANG)
            status.append(code)
            return pid == child

        until(has_ended, what="the forked child ends", within=90)  # it makes a client of its own
        assert os.waitstatus_to_exitcode(status[-1]) == 0
        assert store.get("after") == b"y"

    def test_two_workers_race_for_a_generation_and_one_wins_each_time(self, server: BucketServer) -> None:
        assert_each_race_has_one_winner(server, RACES)

    @pytest.mark.slow
    def test_two_workers_race_a_thousand_times_and_one_wins_each_time(self, server: BucketServer) -> None:
        assert_each_race_has_one_winner(server, LONG_RACES)


def assert_each_race_has_one_winner(server: BucketServer, races: int) -> None:
    """Let two processes with clients of their own write the same log entries; each number is given to both at one moment."""
    store = server.new_store()
    command = [
        sys.executable,
        "-m",
        "tests.adapters.store_children",
        server.scheme,
        server.url,
        store.uri,
        "race",
    ]
    workers = [
        subprocess.Popen([*command, name], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    won: tuple[set[int], set[int]] = (set(), set())
    number = 0
    # Whom the machine lets wait may lose often: then it goes on until both have won.
    while number < races or (number < LONG_RACES and min(map(len, won)) <= number // 50):
        for worker in workers[:: 1 if number % 2 else -1]:  # who is told first has a start
            assert worker.stdin is not None
            worker.stdin.write(f"{number}\n")
            worker.stdin.flush()
        for worker, mine in zip(workers, won, strict=True):
            assert worker.stdout is not None
            if worker.stdout.readline() == "won\n":
                mine.add(number)
        number += 1
    races = number
    for worker in workers:
        worker.communicate(timeout=60)
        assert worker.returncode == 0
    assert not won[0] & won[1], "both won"
    assert won[0] | won[1] == set(range(races)), "nobody won"
    contents = store.get_many([f"log/{number:020d}.json" for number in range(races)])
    kept = Counter(json.loads(content)["by"] for content in contents.values())
    assert (kept["one"], kept["two"]) == (len(won[0]), len(won[1]))
    assert min(len(won[0]), len(won[1])) > races // 50, f"that was no race: {kept}"


def send_with_wrong_digest(store: FsspecStore, key: str, content: bytes) -> None:
    wrong = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    if isinstance(store, GcsStore):
        store.insert(key, content, sha256="", absent=True, crc32c=wrong)
    else:
        assert isinstance(store, S3Store)
        with in_words("write", store.uri):
            store.call("put_object", Key=store.name_of(key), Body=content, ChecksumCRC32=wrong)


def counted(store: FsspecStore, sent: list[int]) -> None:
    """Note the size of each part that is sent from now on."""
    begin = store.parted

    def parted(upload: Upload) -> Any:
        parts = begin(upload)
        assert parts is not None
        send = parts.send

        def noted(number: int, content: bytes) -> None:
            send(number, content)
            sent.append(len(content))

        parts.send = noted  # type: ignore[method-assign]
        return parts

    store.parted = parted  # type: ignore[method-assign]


class TestSuitability:
    @pytest.fixture
    def careless(self) -> FsspecStore:
        return FsspecStore(Careless, f"careless://bucket-{os.urandom(4).hex()}/models")

    def test_a_store_that_replaces_what_is_there_is_refused(self, careless: FsspecStore) -> None:
        with pytest.raises(RepositoryUnsuitable, match="two workers could win one log entry"):
            careless.check_suitable()
        assert list(careless.list("")) == []

    @pytest.mark.parametrize("scheme", ["memory", "sftp", "ftp", "http", "hdfs", "file"])
    def test_a_store_known_to_look_first_and_write_then_is_refused_untried(self, scheme: str) -> None:
        def never() -> Any:
            raise AssertionError("it was asked")

        with pytest.raises(RepositoryUnsuitable, match="only one of two writers"):
            FsspecStore(never, f"{scheme}://bucket/models").check_suitable()

    @pytest.mark.parametrize("root", ["gs://", "gs:///models", "s3:// /..", "gs://bucket/a//b", "gs://bucket/../x"])
    def test_a_root_that_names_no_place_is_refused(self, root: str) -> None:
        if root == "gs:///models":
            root = "gs:////"
        with pytest.raises(InvalidConfig, match="://bucket/prefix"):
            FsspecStore(SharedMemory, root)

    @pytest.mark.parametrize(
        ("root", "words"),
        [
            ("gs://bucket name/models", "'bucket name' is no bucket's name"),
            ("gs://bucket?x=1", "is no bucket's name"),
            ("s3://conn@bucket/models", "name the connection in `storage_conn_id`"),
            ("gs://bucket/mod\nels", "cannot be printed"),
        ],
    )
    def test_a_root_with_what_no_bucket_is_called_is_refused_before_a_store_is_asked(
        self, root: str, words: str
    ) -> None:
        with pytest.raises(InvalidConfig, match=words):
            FsspecStore(SharedMemory, root)

    def test_a_scheme_may_have_capitals(self) -> None:
        assert FsspecStore(SharedMemory, "GS://bucket/Models").uri == "gs://bucket/Models"
