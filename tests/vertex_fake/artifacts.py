"""Whether a model's files are where its upload says: asks a real bucket of a GCS emulator."""

from __future__ import annotations

from urllib.parse import quote

import requests

from tests.vertex_fake.models import ArtifactCheck
from tests.vertex_fake.refusal import Refused

_FILES = ("saved_model.pb", "saved_model.pbtxt")
_PATIENCE_SECONDS = 60


def in_bucket(storage_url: str) -> ArtifactCheck:
    """Return a check over GCS' JSON API at a URL, such as ``STORAGE_EMULATOR_HOST``.

    Refuses as the service does for its prebuilt TensorFlow containers.
    """

    def check(artifact_uri: str) -> str | None:
        bucket, _, folder = artifact_uri.removeprefix("gs://").partition("/")
        for name in _FILES:
            path = "/".join(part for part in (folder.strip("/"), name) if part)
            url = f"{storage_url.rstrip('/')}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(path, safe='')}"
            try:
                found = requests.get(url, timeout=_PATIENCE_SECONDS)
            except requests.RequestException as failed:
                raise Refused("UNAVAILABLE", f"Cloud Storage does not answer: {failed}") from failed
            if found.status_code == 200:
                return None
        return f"Model directory {artifact_uri} is expected to contain exactly one of: [{', '.join(_FILES)}]."

    return check
