"""The real process with its models in buckets: a GCS emulator and an S3 server, read with nothing but the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.adapters.bucket_rig import S3_KEYS, BucketServer, run_gcs, run_s3
from tests.model_server.test_process import IMAGE, SETTLE_S, Server, start, wait_until

pytestmark = pytest.mark.integration

DAY, NEXT = 20230601120000, 20230602120000


@dataclass
class Bucket:
    """A bucket, and how to put versions there."""

    server: BucketServer
    name: str

    @property
    def base(self) -> str:
        return f"{self.server.scheme}://{self.name}/digits/versions"

    def push(self, saved_model: Path, *, number: int) -> None:
        """As a push does: the graph comes last."""
        self.variables(saved_model, number=number)
        self._put(f"{number}/saved_model.pb", saved_model / "saved_model.pb")

    def variables(self, saved_model: Path, *, number: int) -> None:
        for path in (saved_model / "variables").iterdir():
            self._put(f"{number}/variables/{path.name}", path)

    def remove(self, number: int) -> None:
        store = self.server.store(self.base)
        store.delete([found.key for found in store.list(f"{number}/")])

    def _put(self, key: str, path: Path) -> None:
        self.server.store(self.base).put(key, path.read_bytes())


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Bucket]]:
    directory = tmp_path_factory.mktemp("buckets")
    with run_gcs(directory) as gcs, run_s3(directory) as s3:
        yield {server.scheme: Bucket(server=server, name=server.new_bucket()) for server in (gcs, s3)}


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@pytest.fixture(scope="module")
def server(
    buckets: dict[str, Bucket], saved_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    entries = []
    for scheme, bucket in buckets.items():
        bucket.push(saved_models / "1", number=DAY)
        entries.append(f'config {{ name: "{scheme}" base_path: "{bucket.base}" model_platform: "tensorflow" }}')
    (directory / "models.config").write_text(f"model_config_list {{ {' '.join(entries)} }}")
    (directory / "copies").mkdir()
    with environment(
        STORAGE_EMULATOR_HOST=buckets["gs"].server.url,
        AWS_ENDPOINT_URL=buckets["s3"].server.url,
        AWS_ACCESS_KEY_ID=S3_KEYS["key"],
        AWS_SECRET_ACCESS_KEY=S3_KEYS["secret"],
        AWS_DEFAULT_REGION="us-east-1",
        TMPDIR=str(directory / "copies"),
    ):
        running = start(
            directory,
            *("--model_config_file", str(directory / "models.config")),
            # It goes on trying for longer than a busy machine takes to push the rest of a version.
            *("--max_num_load_retries", "10000", "--load_retry_interval_micros", "100000"),
        )
    yield running
    running.process.terminate()
    assert running.process.wait(timeout=SETTLE_S) == 0


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_version_is_loaded_from_a_bucket_when_it_is_whole_and_unloaded_when_it_goes(
    server: Server, buckets: dict[str, Bucket], saved_models: Path, scheme: str
) -> None:
    bucket = buckets[scheme]

    def predicts(*values: float) -> bool:
        answer = server.ask("POST", f"/v1/models/{scheme}:predict", {"instances": IMAGE})
        return bool(answer == (200, {"predictions": [list(values)]}))

    assert predicts(1.0, 2.0, 3.0, 4.0)

    bucket.variables(saved_models / "2", number=NEXT)
    wait_until(lambda: NEXT in server.states(scheme), what="the version that is being pushed is seen")
    assert predicts(1.0, 2.0, 3.0, 4.0), "half a version does not end the whole one"

    bucket.push(saved_models / "2", number=NEXT)
    wait_until(lambda: predicts(2.0, 4.0, 6.0, 8.0), what="the new version serves")
    wait_until(lambda: server.states(scheme) == {DAY: "END", NEXT: "AVAILABLE"}, what="the old one is unloaded")

    bucket.remove(NEXT)
    wait_until(lambda: predicts(1.0, 2.0, 3.0, 4.0), what="the version before serves again")
    copies = server.models.parent / "copies"
    wait_until(lambda: not list(copies.glob("model-server-*")), what="no copy stays once the versions are loaded")
