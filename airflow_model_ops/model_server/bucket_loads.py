"""Loading a version that lies in a bucket: fetched to this machine, loaded, and the copy removed."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.repository.contents import GRAPHS
from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory
from airflow_model_ops.core.errors import NotASavedModel, RepositoryUnavailable
from airflow_model_ops.model_server.servable import Servable, Signature, Tensor
from airflow_model_ops.model_server.status import Code, StatusError

log = logging.getLogger(__name__)

_ASSETS = "assets"


def load_from_bucket(
    place: RemoteDirectory, *, load: Callable[[Path], Servable], cache: Path | None = None
) -> Servable:
    """Fetch a version and load it.

    :param cache: Where copies are made, which last as long as the load, or, if the version has assets, as the version:
        its graph may read them at any time. ``None``: the directory for temporary files.
    :raises StatusError: NOT_FOUND, as for a directory, if there is no SavedModel; UNAVAILABLE if the bucket does not
        answer; and what ``load`` raises.
    """
    copy = Path(tempfile.mkdtemp(prefix="model-server-", dir=cache))
    try:
        _fetch(place, to=copy)
        servable = load(copy)
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    if (copy / _ASSETS).is_dir():
        return _WithCopy(servable, copy)
    shutil.rmtree(copy, ignore_errors=True)
    return servable


def _fetch(place: RemoteDirectory, *, to: Path) -> None:
    try:
        if not set(GRAPHS) & set(place.names()):  # one that is being pushed: its graph comes last
            raise StatusError(
                Code.NOT_FOUND,
                f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {place}. "
                "Check that the directory exists and that you have the right permissions for accessing it.",
            )
        files = place.fetch(to)
    except NotASavedModel as error:
        raise StatusError(Code.NOT_FOUND, str(error)) from error
    except RepositoryUnavailable as error:
        raise StatusError(Code.UNAVAILABLE, str(error)) from error
    log.info("fetched %d files, %d bytes, from %s", len(files), sum(file.size for file in files), place)


class _WithCopy:
    """A loaded version together with the files that its graph may read; they go when it does."""

    def __init__(self, servable: Servable, copy: Path) -> None:
        self._servable = servable
        self._copy = copy

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._servable.signatures

    @property
    def signature_defs(self) -> Any:
        return self._servable.signature_defs

    def predict(
        self, inputs: Mapping[str, Tensor], *, signature_name: str, output_filter: Sequence[str] = ()
    ) -> dict[str, Tensor]:
        return self._servable.predict(inputs, signature_name=signature_name, output_filter=output_filter)

    def close(self) -> None:
        self._servable.close()
        shutil.rmtree(self._copy, ignore_errors=True)
