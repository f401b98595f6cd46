"""The gauge ``model_version_performance``: what training measured, from the manifests beside the versions.

A repository keeps ``<model>/versions`` (the base path) and ``<model>/manifests/<version name>.json``. A manifest's
``version`` has the serving ``number``, as a string, and its ``metrics`` maps names to numbers.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.model_server.places import place_of
from airflow_model_ops.model_server.request_metrics import label_text

log = logging.getLogger(__name__)

_GAUGE = "model_version_performance"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    mtime_ns: int
    version: str
    number: str
    metrics: dict[str, float] = field(default_factory=dict)


class Performance:
    """Reads manifests at each scrape; one that has not changed is not read again.

    A bucket is asked about a version until its manifest, which never changes, is found there, and not at every scrape: a
    scrape must not wait for a bucket.

    :param pause_seconds: How long to wait before a bucket is asked again for a manifest that it did not have.
    """

    def __init__(self, *, pause_seconds: float = 60.0) -> None:
        self._seen: dict[Path, _Manifest] = {}
        self._pause_seconds = pause_seconds
        self._in_buckets: dict[tuple[str, str], _Manifest] = {}
        self._asked_at: dict[tuple[str, str], float] = {}

    def page(self, loaded: Iterable[tuple[str, int, str]]) -> list[str]:
        """Return the lines of the Prometheus page; a version without manifest or metrics has none.

        :param loaded: Model, serving number and base path of each version that serves.
        """
        lines = []
        for model, number, base_path in sorted(loaded):
            manifest = self._find(base_path, number=str(number))
            for metric, value in sorted(manifest.metrics.items()) if manifest else ():
                labels = label_text(model=model, version=manifest.version if manifest else "", metric=metric)
                lines.append(f"{_GAUGE}{{{labels}}} {value!r}")
        return [f"# TYPE {_GAUGE} gauge", *lines] if lines else []

    def _find(self, base_path: str, *, number: str) -> _Manifest | None:
        directory = place_of(base_path).parent / "manifests"
        try:
            if isinstance(directory, RemoteDirectory):
                return self._find_in_bucket(directory, number=number)
            paths = sorted(directory.glob("*.json"))
            return next((m for m in map(self._read, paths) if m.number == number), None)
        except (OSError, RepositoryUnavailable) as error:
            log.warning("manifests=%s cannot be read: %s", directory, error)
            return None

    def _find_in_bucket(self, directory: RemoteDirectory, *, number: str) -> _Manifest | None:
        key, now = (directory.url, number), time.monotonic()
        found = self._in_buckets.get(key)
        if found is None and now - self._asked_at.get(key, -self._pause_seconds) >= self._pause_seconds:
            self._asked_at[key] = now
            found = next((m for m in _manifests_in(directory) if m.number == number), None)
            if found is not None:
                self._in_buckets[key] = found
        return found

    def _read(self, path: Path) -> _Manifest:
        mtime_ns = path.stat().st_mtime_ns
        seen = self._seen.get(path)
        if seen is None or seen.mtime_ns != mtime_ns:
            seen = _manifest(path.read_bytes(), name=path.stem, place=str(path), mtime_ns=mtime_ns)
            self._seen[path] = seen
        return seen


def _manifests_in(directory: RemoteDirectory) -> Iterator[_Manifest]:
    """Yield the manifests of a bucket, the last by name first: those of the versions that are asked for are mostly new."""
    for name in reversed(directory.names()):
        content = directory.read(name) if name.endswith(".json") else None
        if content is not None:
            yield _manifest(content, name=name.removesuffix(".json"), place=f"{directory}/{name}")


def _manifest(content: bytes, *, name: str, place: str, mtime_ns: int = 0) -> _Manifest:
    """Read one manifest; one that is not as it should be counts as having no metrics."""
    try:
        document: Any = json.loads(content)
        metrics = document.get("metrics") or {}
        return _Manifest(
            mtime_ns=mtime_ns,
            version=name,
            number=str(document["version"]["number"]),
            metrics={
                str(name): float(value)
                for name, value in metrics.items()
                if isinstance(value, (int, float)) and not isinstance(value, bool)
            },
        )
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        log.warning("manifest=%s is not as expected and is left out: %r", place, error)
        return _Manifest(mtime_ns=mtime_ns, version=name, number="")
