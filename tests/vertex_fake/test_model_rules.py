"""What the service makes of versions and aliases, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from google.api_core import exceptions
from google.cloud import aiplatform_v1 as v1

from tests.adapters.bucket_rig import run_gcs
from tests.vertex_fake.rig import VertexFake
from tests.vertex_fake.story import MODEL, PARENT, Caller


@pytest.fixture
def caller(fake: VertexFake) -> Caller:
    found = Caller(fake.address)
    found.upload("v-1", first=True)
    found.upload("v-2", "canary")
    return found


def test_the_first_version_is_the_default_and_the_second_is_not(caller: Caller) -> None:
    assert (caller.aliases("1"), caller.aliases("2")) == ({"default", "v-1"}, {"canary", "v-2"})


def test_the_default_moves_when_it_is_asked_for(caller: Caller) -> None:
    assert caller.upload("v-3", "default") == "3"
    assert (caller.aliases("1"), caller.aliases("3")) == ({"v-1"}, {"default", "v-3"})


def test_an_alias_that_is_given_leaves_the_version_that_had_it(caller: Caller) -> None:
    caller.models.merge_version_aliases(name=f"{MODEL}@1", version_aliases=["canary"])
    assert (caller.aliases("1"), caller.aliases("2")) == ({"canary", "default", "v-1"}, {"v-2"})


def test_giving_and_taking_one_alias_cancel_each_other(caller: Caller) -> None:
    caller.models.merge_version_aliases(name=f"{MODEL}@2", version_aliases=["-canary", "canary", "-never", "golden"])
    assert caller.aliases("2") == {"canary", "golden", "v-2"}


@pytest.mark.parametrize("alias", ["V-1", "1", "v", "v-1.2", "v_1", "v-", "a" * 129, "-default"])
def test_an_alias_has_a_grammar_and_the_default_is_not_taken(caller: Caller, alias: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        caller.models.merge_version_aliases(name=f"{MODEL}@1", version_aliases=[alias])
    assert caller.aliases("1") == {"default", "v-1"}


def test_a_models_id_is_chosen_once_and_its_parent_must_be_there(fake: VertexFake, caller: Caller) -> None:
    with pytest.raises(exceptions.AlreadyExists):
        caller.begin_upload("v-3", first=True)
    caller.models.delete_model(name=MODEL).result()
    with pytest.raises(exceptions.NotFound):
        caller.begin_upload("v-3")


def test_a_failed_first_upload_leaves_the_id_free(fake: VertexFake) -> None:
    caller = Caller(fake.address)
    fake.control.fail_operation("UploadModel")
    with pytest.raises(exceptions.GoogleAPICallError):
        caller.upload("v-1", first=True)
    assert caller.upload("v-1", first=True) == "1"


def test_a_version_shows_only_when_its_upload_ended(fake: VertexFake, caller: Caller) -> None:
    fake.control.duration("UploadModel", None)
    name = caller.begin_upload("v-3").operation.name
    with pytest.raises(exceptions.NotFound):
        caller.aliases("v-3")
    fake.control.release(name=name)
    ended = caller.models.get_operation({"name": name})
    told = v1.UploadModelResponse()
    assert ended.response.Unpack(v1.UploadModelResponse.pb(told))
    assert (told.model, told.model_version_id) == (MODEL, "3")
    assert caller.aliases("3") == {"v-3"}


@pytest.mark.parametrize("artifact_uri", ["/models/1", "s3://models/1"])
def test_files_are_on_cloud_storage(caller: Caller, artifact_uri: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="gs://"):
        caller.begin_upload("v-3", artifact_uri=artifact_uri)


def test_a_deployed_or_default_version_is_not_deleted(caller: Caller) -> None:
    caller.create_endpoint()
    caller.deploy("v-2", "22", {"0": 100})
    for version, why in (("1", "default"), ("2", "is deployed")):
        with pytest.raises(exceptions.FailedPrecondition, match=why):
            caller.models.delete_model_version(name=f"{MODEL}@{version}")
    assert caller.models.get_model(name=f"{MODEL}@2").deployed_models[0].deployed_model_id == "22"
    caller.undeploy("22")
    caller.models.delete_model_version(name=f"{MODEL}@2").result()
    assert [each.version_id for each in caller.models.list_model_versions(name=MODEL)] == ["1"]
    assert caller.upload("v-3") == "3", "a version's id is not used again"


def test_two_uploads_at_once_get_two_ids(fake: VertexFake, caller: Caller) -> None:
    fake.control.duration("UploadModel", None)
    for alias in ("v-3", "v-4"):
        caller.begin_upload(alias)
    assert fake.control.release() == 2
    assert {caller.models.get_model(name=f"{MODEL}@{alias}").version_id for alias in ("v-3", "v-4")} == {"3", "4"}


def test_a_models_list_is_of_its_location(caller: Caller) -> None:
    assert [each.name for each in caller.models.list_models(parent=PARENT)] == [MODEL]
    assert not list(caller.models.list_models(parent="projects/acme/locations/us-east1"))


@pytest.mark.integration
def test_an_upload_fails_unless_the_bucket_has_the_graph(fake: VertexFake, caller: Caller, tmp_path: Path) -> None:
    with run_gcs(tmp_path) as storage:
        requests.post(f"{storage.url}/storage/v1/b", params={"project": "p"}, json={"name": "models"}, timeout=10)
        fake.control.buckets(storage.url)
        with pytest.raises(exceptions.FailedPrecondition, match=r"saved_model\.pb"):
            caller.upload("v-3")
        place = {"uploadType": "media", "name": "digits/1/saved_model.pb"}
        requests.post(f"{storage.url}/upload/storage/v1/b/models/o", params=place, data=b"graph", timeout=10)
        assert caller.upload("v-3") == "3"
