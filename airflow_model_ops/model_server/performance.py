"""The gauge ``model_version_performance``: what training measured, from the manifests beside the versions.

A repository keeps ``<model>/versions`` (the base path) and ``<model>/manifests/<version name>.json``. A manifest's
``number`` is the serving number, as a string, and its ``metrics`` maps names to numbers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    """Reads manifests at each scrape; one that has not changed is not read again."""

    def __init__(self) -> None:
        self._seen: dict[Path, _Manifest] = {}

    def page(self, loaded: Iterable[tuple[str, int, Path]]) -> list[str]:
        """Return the lines of the Prometheus page; a version without manifest or metrics has none.

        :param loaded: Model, serving number and base path of each version that serves.
        """
        lines = []
        for model, number, base_path in sorted(loaded):
            manifest = self._find(base_path.parent / "manifests", number=str(number))
            for metric, value in sorted(manifest.metrics.items()) if manifest else ():
                labels = label_text(model=model, version=manifest.version if manifest else "", metric=metric)
                lines.append(f"{_GAUGE}{{{labels}}} {value!r}")
        return [f"# TYPE {_GAUGE} gauge", *lines] if lines else []

    def _find(self, directory: Path, *, number: str) -> _Manifest | None:
        try:
            paths = sorted(directory.glob("*.json"))
            return next((m for m in map(self._read, paths) if m.number == number), None)
        except OSError as error:
            log.warning("manifests=%s cannot be read: %s", directory, error)
            return None

    def _read(self, path: Path) -> _Manifest:
        mtime_ns = path.stat().st_mtime_ns
        seen = self._seen.get(path)
        if seen is None or seen.mtime_ns != mtime_ns:
            seen = _manifest(path, mtime_ns=mtime_ns)
            self._seen[path] = seen
        return seen


def _manifest(path: Path, *, mtime_ns: int) -> _Manifest:
    """Read one manifest; one that is not as it should be counts as having no metrics."""
    try:
        document: Any = json.loads(path.read_bytes())
        metrics = document.get("metrics") or {}
        return _Manifest(
            mtime_ns=mtime_ns,
            version=path.stem,
            number=str(document["number"]),
            metrics={
                str(name): float(value)
                for name, value in metrics.items()
                if isinstance(value, (int, float)) and not isinstance(value, bool)
            },
        )
    except (ValueError, AttributeError, KeyError) as error:
        log.warning("manifest=%s is not as expected and is left out: %r", path, error)
        return _Manifest(mtime_ns=mtime_ns, version=path.stem, number="")
