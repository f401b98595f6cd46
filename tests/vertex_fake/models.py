"""ModelService: models, their versions and the aliases of these.

A parent model is a list of versions; exactly one of them has the alias ``default``. Methods are named as the service's, in snake
case, and take its requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.cloud import aiplatform_v1 as v1
from google.protobuf import empty_pb2

from tests.vertex_fake import listing, names
from tests.vertex_fake.etags import new_etag
from tests.vertex_fake.operations import Operations, raw
from tests.vertex_fake.refusal import Refused

DEFAULT = "default"
ArtifactCheck = Callable[[str], str | None]
"""Returns what is wrong with the files at a gs:// address, or nothing."""


def believe(artifact_uri: str) -> str | None:
    """Look nowhere."""
    return None


@dataclass
class Parent:
    """A model: its versions by id, in the order in which they came."""

    name: str
    versions: dict[str, v1.Model] = field(default_factory=dict)
    last_id: int = 0

    def find(self, wanted: str) -> v1.Model | None:
        """Return a version by id or alias."""
        return self.versions.get(wanted) or next(
            (each for each in self.versions.values() if wanted in each.version_aliases), None
        )


class Models:
    """The Model Registry."""

    def __init__(self, operations: Operations) -> None:
        self.check_artifacts: ArtifactCheck = believe
        self._operations = operations
        self._clock = operations.clock
        self._parents: dict[str, Parent] = {}

    def version(self, name: str) -> v1.Model:
        """Return the version that a name with or without ``@version`` or ``@alias`` means.

        :raises Refused: NOT_FOUND.
        """
        asked = names.resource(name, collection="models")
        parent = self._parents.get(asked.name)
        found = parent.find(asked.version or DEFAULT) if parent else None
        if found is None:
            raise Refused("NOT_FOUND", f"The Model does not exist: {name}")
        return found

    def upload_model(self, request: v1.UploadModelRequest) -> Any:
        parent_name = self._parent_of(request)
        self._check_upload(request.model)
        model = v1.Model(request.model)

        def finish() -> v1.UploadModelResponse:
            if wrong := self.check_artifacts(model.artifact_uri):
                raise Refused("FAILED_PRECONDITION", wrong)
            parent = self._parents[parent_name]
            parent.last_id += 1
            self._add(parent, model, str(parent.last_id))
            return v1.UploadModelResponse(model=parent_name, model_version_id=model.version_id)

        def abandon() -> None:
            parent = self._parents.get(parent_name)
            if parent and not parent.versions and not self._others_upload(parent_name):
                del self._parents[parent_name]

        self._parents.setdefault(parent_name, Parent(parent_name))
        return self._operations.start(
            "UploadModel", on=parent_name, metadata=v1.UploadModelOperationMetadata(), finish=finish, abandon=abandon
        )

    def get_model(self, request: v1.GetModelRequest) -> v1.Model:
        return _shown(self.version(request.name), versioned="@" in request.name)

    def list_models(self, request: v1.ListModelsRequest) -> v1.ListModelsResponse:
        names.check_parent(request.parent)
        defaults = [
            version
            for parent in self._parents.values()
            if parent.name.startswith(f"{request.parent}/") and (version := parent.find(DEFAULT))
        ]
        chosen = [each for each in defaults if listing.matches(each, request.filter)]
        cut, token = listing.page(
            listing.ordered(chosen, request.order_by), size=request.page_size, token=request.page_token
        )
        return v1.ListModelsResponse(models=[_shown(each, versioned=False) for each in cut], next_page_token=token)

    def list_model_versions(self, request: v1.ListModelVersionsRequest) -> v1.ListModelVersionsResponse:
        asked = names.resource(request.name, collection="models")
        if asked.name not in self._parents:
            raise Refused("NOT_FOUND", f"The Model does not exist: {request.name}")
        versions = list(self._parents[asked.name].versions.values())
        chosen = [each for each in versions if listing.matches(each, request.filter)]
        cut, token = listing.page(
            listing.ordered(chosen, request.order_by), size=request.page_size, token=request.page_token
        )
        return v1.ListModelVersionsResponse(
            models=[_shown(each, versioned=True) for each in cut], next_page_token=token
        )

    def merge_version_aliases(self, request: v1.MergeVersionAliasesRequest) -> v1.Model:
        """Add and, with a ``-`` before them, take aliases; both for one alias cancel each other."""
        asked = names.resource(request.name, collection="models")
        version = self.version(request.name)
        given = list(request.version_aliases)
        added = {names.check_alias(each) for each in given if not each.startswith("-")}
        taken = {names.check_alias(each[1:]) for each in given if each.startswith("-")}
        added, taken = added - taken, taken - added
        if asked.version is None or not given:
            raise Refused("INVALID_ARGUMENT", "The name must have a version, and version_aliases must not be empty.")
        if DEFAULT in taken:
            raise Refused("INVALID_ARGUMENT", "The default alias cannot be removed; give it to another version.")
        self._give(self._parents[asked.name], version, added)
        version.version_aliases = [each for each in version.version_aliases if each not in taken]
        self._touch(version)
        return _shown(version, versioned=True)

    def update_model(self, request: v1.UpdateModelRequest) -> v1.Model:
        version = self.version(request.model.name)
        for path in request.update_mask.paths:
            if path not in {"display_name", "description", "version_description", "labels"}:
                raise Refused("INVALID_ARGUMENT", f"update_mask: {path!r} cannot be updated.")
            setattr(version, path, getattr(request.model, path))
        self._touch(version)
        return _shown(version, versioned="@" in request.model.name)

    def delete_model_version(self, request: v1.DeleteModelVersionRequest) -> Any:
        asked = names.resource(request.name, collection="models")
        version = self.version(request.name)
        parent = self._parents[asked.name]
        if asked.version is None:
            raise Refused("INVALID_ARGUMENT", "The name must have a version id.")
        if DEFAULT in version.version_aliases:
            raise Refused(
                "FAILED_PRECONDITION", "The default version cannot be deleted; make another one the default first."
            )
        self._refuse_deployed([version])

        def finish() -> empty_pb2.Empty:
            self._refuse_deployed([version])
            parent.versions.pop(version.version_id, None)
            return empty_pb2.Empty()

        return self._start_deletion("DeleteModelVersion", asked.name, finish)

    def delete_model(self, request: v1.DeleteModelRequest) -> Any:
        asked = names.resource(request.name, collection="models")
        self.version(asked.name)
        self._refuse_deployed(list(self._parents[asked.name].versions.values()))

        def finish() -> empty_pb2.Empty:
            parent = self._parents.get(asked.name)
            self._refuse_deployed(list(parent.versions.values()) if parent else [])
            self._parents.pop(asked.name, None)
            return empty_pb2.Empty()

        return self._start_deletion("DeleteModel", asked.name, finish)

    def _start_deletion(self, kind: str, on: str, finish: Callable[[], Any]) -> Any:
        metadata = v1.DeleteOperationMetadata()
        return self._operations.start(kind, on=on, metadata=metadata, finish=finish)

    def _parent_of(self, request: v1.UploadModelRequest) -> str:
        """Return the name of the model that a version is uploaded to, new or not."""
        location = names.check_parent(request.parent)
        if request.parent_model:
            name = names.resource(request.parent_model, collection="models").name
            if name not in self._parents or not self._parents[name].versions:
                raise Refused("NOT_FOUND", f"The Model does not exist: {request.parent_model}")
            return name
        if request.model_id:
            name = f"{location}/models/{names.check_model_id(request.model_id)}"
            if name in self._parents:
                raise Refused("ALREADY_EXISTS", f"The Model already exists: {name}")
            return name
        return f"{location}/models/{7_000_000_000_000_000_001 + len(self._parents)}"

    def _check_upload(self, model: v1.Model) -> None:
        names.check_display_name(model.display_name)
        names.check_labels(dict(model.labels))
        for alias in model.version_aliases:
            names.check_alias(alias)
        if not model.container_spec.image_uri:
            raise Refused("INVALID_ARGUMENT", "model.container_spec.image_uri is required.")
        if model.artifact_uri and not model.artifact_uri.startswith("gs://"):
            raise Refused("INVALID_ARGUMENT", f"model.artifact_uri must begin with gs://; got {model.artifact_uri!r}.")

    def _add(self, parent: Parent, model: v1.Model, version_id: str) -> None:
        aliases = set(model.version_aliases) | (set() if parent.versions else {DEFAULT})
        model.name, model.version_id, model.version_aliases = parent.name, version_id, []
        model.supported_deployment_resources_types = [v1.Model.DeploymentResourcesType.DEDICATED_RESOURCES]
        model.create_time = model.version_create_time = self._clock.now()
        self._give(parent, model, aliases)
        self._touch(model)
        parent.versions[version_id] = model

    def _give(self, parent: Parent, version: v1.Model, aliases: set[str]) -> None:
        """Give aliases to a version; whichever had them has them no more."""
        for other in parent.versions.values():
            if other is not version and aliases & set(other.version_aliases):
                other.version_aliases = [each for each in other.version_aliases if each not in aliases]
                self._touch(other)
        version.version_aliases = sorted(set(version.version_aliases) | aliases)

    def _touch(self, version: v1.Model) -> None:
        version.etag = new_etag()
        version.update_time = version.version_update_time = self._clock.now()

    def _others_upload(self, name: str) -> bool:
        return bool(self._operations.running(on=name))

    def _refuse_deployed(self, versions: list[v1.Model]) -> None:
        for each in versions:
            if each.deployed_models:
                told = f"{each.name}@{each.version_id} is deployed to {each.deployed_models[0].endpoint}"
                raise Refused("FAILED_PRECONDITION", f"The Model cannot be deleted: {told}; undeploy it first.")


def _shown(version: v1.Model, *, versioned: bool) -> v1.Model:
    """Return a copy as the caller sees it: who names a version gets the name with the version's id."""
    shown = v1.Model()
    raw(shown).CopyFrom(raw(version))
    if versioned:
        shown.name = f"{version.name}@{version.version_id}"
    return shown
