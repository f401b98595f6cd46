"""Taking over a fleet whose servers read the repository's own bucket: the files stay where they are, and get manifests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_model_ops.adapters.repository.object_repository import ObjectRepository
from airflow_model_ops.adapters.serving.tf_serving_config import ServedModel, model_server_config_text
from airflow_model_ops.adapters.serving.tf_serving_inventory import numbered_remote_directories
from airflow_model_ops.adapters.serving.tf_serving_plan import Listed, ServingDocument, served_models
from airflow_model_ops.cli_commands.adopt import path_map
from airflow_model_ops.control.adopt import FleetAdopter
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import FoundModel
from airflow_model_ops.core.state import Actor, ActorKind, ServingState
from airflow_model_ops.core.versioning import Scheme, VersionNaming
from airflow_model_ops.hooks.saved_models import SavedModels
from airflow_model_ops.testing import InMemoryTarget, ManualClock
from tests.adapters.bucket_rig import BucketServer, open_gcs, run_gcs

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
PERSON = Origin(actor=Actor(kind=ActorKind.PERSON, name="ada"))


class Served:
    """A fleet that serves versions 1 and 2 of ``digits`` from a base path."""

    def __init__(self, base_path: str, directories: Mapping[int, str]) -> None:
        self.kept: dict[str, FoundModel] = {}
        self.mark: dict[str, Any] = {}
        self._found = FoundModel(
            name="digits",
            base_path=base_path,
            available=frozenset({1, 2}),
            everywhere=frozenset({1, 2}),
            labels={"stable": 1},
            directories=directories,
        )

    def find(self) -> tuple[FoundModel, ...]:
        return (self._found,)

    def keep(self, ours: Mapping[str, FoundModel]) -> tuple[str, ...]:
        self.kept = dict(ours)
        return ()

    def mark_adopted(self, note: Mapping[str, Any]) -> None:
        self.mark = dict(note)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with run_gcs(tmp_path_factory.mktemp("gcs")) as running:
        yield running


@pytest.fixture
def repository(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> ObjectRepository:
    """A repository in a bucket, and Airflow's connection ``models`` to it; no other opens a bucket."""
    from airflow.sdk.io import store

    monkeypatch.setattr(store, "_STORE_CACHE", {})
    store.attach("gs", conn_id="models", fs=open_gcs(server.url))
    return ObjectRepository(server.new_store())


@pytest.mark.integration
@pytest.mark.parametrize("in_place", [True, False])
def test_versions_in_the_repositorys_own_place_are_taken_over_there_and_others_are_copied(
    server: BucketServer, repository: ObjectRepository, tmp_path: Path, in_place: bool
) -> None:
    prefix = "" if in_place else f"old-{secrets.token_hex(3)}/"
    files = server.store(repository.uri)
    for number in (1, 2, 3):
        files.put(f"{prefix}digits/versions/{number}/variables/index", b"weights of %d" % number)
        files.put(f"{prefix}digits/versions/{number}/saved_model.pb", b"graph %d" % number)
    files.put(f"{prefix}digits/versions/9/variables/index", b"a number, and no SavedModel")
    before = {found.key: found.token for found in files.list(f"{prefix}digits/versions/")}
    base_path = f"{repository.uri}/{prefix}digits/versions"
    control = ModelControl(
        model="digits",
        naming=NAMING,
        repository=repository,
        target=InMemoryTarget(),
        initial=ServingState(fleet="main"),
        origin=PERSON,
        clock=ManualClock(),
    )
    with SavedModels(repository=repository.uri, storage_conn_id="models") as saved_models:
        served = Served(base_path, numbered_remote_directories(saved_models.remote(base_path)))
        adopter = FleetAdopter(
            store=repository.fleet("main"),
            served=served,
            controls={"digits": control},
            clock=ManualClock(),
            directory_of=saved_models.directory_of,
        )
        (adopted,) = adopter.adopt()
        (again,) = adopter.adopt()

    assert [(item.version.name, item.in_place) for item in adopted.imports] == [
        (f"m-v0.0.{number}", in_place) for number in (1, 2, 3)
    ]
    assert (adopted.stable and adopted.stable.name, again.treatment) == ("m-v0.0.1", "known")
    assert [version.name for version in repository.versions("digits")] == ["m-v0.0.1", "m-v0.0.2", "m-v0.0.3"]
    for version in repository.versions("digits"):
        repository.verify("digits", version)
        assert repository.manifest("digits", version).source == {"adopted_from": f"{base_path}/{version.number}"}
    after = {found.key: found.token for found in files.list(f"{prefix}digits/versions/")}
    assert after == before, "what serves is never written to"
    assert set(served.kept) == {"digits"}


@pytest.mark.parametrize("root", ["gs://bucket/models", "s3://bucket/models", "gs://bucket", "/srv/models"])
def test_the_list_of_models_has_the_buckets_own_address(root: str) -> None:
    document = ServingDocument(models={"digits": Listed(versions=(1,), labels={})})
    (served,) = served_models(document, models_root=root, statuses={})
    assert served == ServedModel(name="digits", base_path=f"{root}/digits/versions", versions=(1,), labels={})
    assert f'base_path: "{root}/digits/versions"' in model_server_config_text([served])


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("/models/digits/versions", "gs://bucket/prefix/digits/versions"),
        ("/models/digits/versions/", "gs://bucket/prefix/digits/versions"),
        ("/models/old/digits", "/mnt/old/digits"),
        ("/models-of-others/digits", "/models-of-others/digits"),
        ("gs://other/digits", "gs://other/digits"),
        ("s3://far/digits", "/mnt/far/digits"),
    ],
)
def test_a_path_of_the_servers_is_turned_into_a_place_by_the_longest_prefix(given: str, seen: str) -> None:
    pairs = {"/models": "gs://bucket/prefix/", "/models/old": "/mnt/old", "s3://far/": "/mnt/far"}
    assert path_map(pairs)(given) == seen
