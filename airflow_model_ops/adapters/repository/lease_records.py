"""The stored form of the leases of releases, and which of them count."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable
from typing import Any

from airflow_model_ops.adapters.repository.file_names import file_name
from airflow_model_ops.core.ports import LONGEST_LEASE_SECONDS, Lease
from airflow_model_ops.core.state import Fence
from airflow_model_ops.core.versioning import Version

_log = logging.getLogger(__name__)
_LEASE_NAME = re.compile(r"(?P<release>.+)\.(?P<attempt>\d+)\.json\Z", re.ASCII)


def lease_name(lease: Lease) -> str:
    """Return a lease's file name. Each attempt has its own, so an old one never covers a newer."""
    return f"{file_name(lease.release)}.{lease.attempt}.json"


def is_ended_by(fence: Fence, name: str) -> bool:
    """Return whether a file name is that of a lease which a fence ends: its own, or an older attempt's."""
    found = _LEASE_NAME.match(name)
    return found is not None and found["release"] == file_name(fence.release) and int(found["attempt"]) <= fence.attempt


def lease_to_bytes(lease: Lease) -> bytes:
    """Return the bytes to store."""
    data: dict[str, Any] = {
        "release": lease.release,
        "attempt": lease.attempt,
        "version": lease.version.to_json(),
        "until": lease.until,
        "waiting": lease.waiting,
    }
    return json.dumps(data, sort_keys=True).encode()


def lease_from_bytes(content: bytes, *, written: float, where: str) -> Lease | None:
    """Read what :func:`lease_to_bytes` wrote; ``None``, and a warning, if it is something else.

    :param written: When it was stored, seconds since the epoch.
    :param where: The file, for the warning.
    """
    try:
        data = json.loads(content)
        return Lease(
            release=str(data["release"]),
            attempt=int(data["attempt"]),
            version=Version.from_json(data["version"]),
            # A dead holder whose clock was ahead must not seem alive until that clock is reached.
            until=min(_moment(data["until"]), written + LONGEST_LEASE_SECONDS),
            waiting=bool(data["waiting"]),
        )
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        _log.warning("lease %r cannot be read and counts for nothing: %r; remove the file", where, error)
        return None


def newest_of_each(leases: Iterable[Lease | None]) -> tuple[Lease, ...]:
    """Return the lease of each release, its newest attempt's; ``None`` counts for nothing."""
    newest: dict[str, Lease] = {}
    for lease in leases:
        if lease and (lease.release not in newest or lease.attempt > newest[lease.release].attempt):
            newest[lease.release] = lease
    return tuple(newest.values())


def _moment(until: Any) -> float:
    moment = float(until)
    if math.isnan(moment):
        raise ValueError("until is not a number")
    return moment
