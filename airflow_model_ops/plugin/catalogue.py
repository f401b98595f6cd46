"""The models of this installation as the API server knows them: their YAML files, read again only when one changes.

Hundreds of files take a good part of a second, so a change is read by a thread of its own: requests go on with what was
known until it is done.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from airflow_model_ops.config.model_file import ModelIdentity, load_ways_back
from airflow_model_ops.configured_models import models_dir
from airflow_model_ops.core.errors import InvalidConfig

_LOOK_SECONDS = 2.0
"""How long an answer holds before the files' times are looked at again."""

_Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The models with a YAML file by name, and how many mistakes the files have."""

    models: dict[str, ModelIdentity]
    mistakes: int


@dataclass(slots=True)
class _Kept:
    catalogue: Catalogue = field(default_factory=lambda: Catalogue(models={}, mistakes=0))
    stamp: _Stamp | None = None
    looked_at: float = float("-inf")
    reads: bool = False
    """Whether a thread reads the files now."""


_kept = _Kept()
_lock = threading.Lock()


def catalogue() -> Catalogue:
    """Return the models; without ``[model_ops] models_dir`` there is none, and that is one mistake."""
    # Where something is known nobody waits for another one's look: the directory may hang, and threads are few.
    if _is_due(_kept) and _lock.acquire(blocking=_kept.stamp is None):
        try:
            if _is_due(_kept):
                _look(_kept)
        finally:
            _lock.release()
    return _kept.catalogue


def forget() -> None:
    """Read the files again at the next question."""
    with _lock:
        _kept.stamp, _kept.looked_at = None, float("-inf")


def _is_due(kept: _Kept) -> bool:
    return time.monotonic() - kept.looked_at >= _LOOK_SECONDS


def _look(kept: _Kept) -> None:
    try:
        directory = models_dir()
        stamp = _stamp(directory)
        if kept.stamp is None:
            _take(kept, _read(directory), stamp)
        elif stamp != kept.stamp and not kept.reads:
            kept.reads = True
            threading.Thread(
                target=_read_aside, args=(directory, kept.stamp, stamp), name="model-ops-files", daemon=True
            ).start()
    except InvalidConfig:
        kept.catalogue, kept.stamp = Catalogue(models={}, mistakes=1), None
    except OSError:  # say, a directory that is just put in another one's place
        kept.catalogue, kept.stamp = replace(kept.catalogue, mistakes=max(1, kept.catalogue.mistakes)), None
    kept.looked_at = time.monotonic()


def _read_aside(directory: Path, former: _Stamp, stamp: _Stamp) -> None:
    """Read changed files; one that changes meanwhile has another stamp then, and is read again."""
    try:
        found = _read(directory)
        with _lock:
            if _kept.stamp is former:  # else somebody has read everything anew meanwhile, or wants it so
                _take(_kept, found, stamp)
    finally:
        with _lock:
            _kept.reads = False


def _read(directory: Path) -> Catalogue:
    found = load_ways_back(directory)
    return Catalogue(models=dict(found.models), mistakes=len(found.mistakes))


def _take(kept: _Kept, found: Catalogue, stamp: _Stamp) -> None:
    kept.catalogue, kept.stamp = found, stamp


def _stamp(directory: Path) -> _Stamp:
    return tuple(sorted((str(path), *_state_of(path)) for path in directory.iterdir()))


def _state_of(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # it is gone again, or a link to nowhere
        return 0, 0
    return status.st_mtime_ns, status.st_size
