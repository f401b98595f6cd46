"""How files and objects of a repository are named, so that no name leads elsewhere and all repositories lay out alike."""

from __future__ import annotations

import hashlib
import re

from airflow_model_ops.core.errors import InvalidConfig, InvalidVersionName
from airflow_model_ops.core.versioning import MODEL_NAME, Version

FLEETS = "_fleets"
"""Where fleets are kept, beside the models: no model's name begins like this."""
LOCK = "lock"
"""Where a fleet's lock is kept, beside its documents."""
_ENTRY_NAME = re.compile(r"(\d{20})\.json\Z", re.ASCII)


def entry_name(sequence: int) -> str:
    """Return the name of a log entry."""
    return f"{sequence:020d}.json"


def entry_sequence(name: str) -> int:
    """Return the number of the log entry with a name, 0 if it is none's."""
    found = _ENTRY_NAME.match(name)
    return int(found[1]) if found else 0


def evidence_reference(release: str, name: str) -> str:
    """Return where evidence is kept below the model's directory."""
    return f"evidence/{file_name(release)}/{file_name(name.removesuffix('.json'))}.json"


def file_name(text: str) -> str:
    """Return a file name for any text; a readable text is its own; ``~`` and a digest mark the others."""
    if MODEL_NAME.match(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:60].strip("-_")
    return f"{readable}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def check_fleet_name(fleet: str) -> str:
    """Return a fleet's name unchanged.

    :raises InvalidConfig: if it could not be a directory.
    """
    if not MODEL_NAME.match(fleet):
        raise InvalidConfig(f"fleet name {fleet!r} is not usable; name it as a model, such as 'main'")
    return fleet


def check_document_name(name: str) -> str:
    """Return the name of a fleet's document unchanged.

    :raises InvalidConfig: if it could not be a file beside the lock.
    """
    if name == LOCK or not MODEL_NAME.match(name):
        raise InvalidConfig(
            f"document name {name!r} is not usable; use 1 to 100 letters, digits, '_', '-' or '.', starting with a letter "
            f"or digit, and not {LOCK!r}"
        )
    return name


def is_version_name(name: str) -> bool:
    """Whether a version may have a name: it leads nowhere else, and is none of a serving number's."""
    return bool(MODEL_NAME.match(name)) and not name.isdigit()


def check_version_name(version: Version) -> Version:
    """Return a version unchanged.

    :raises InvalidVersionName: if name or number could lead elsewhere.
    """
    if not is_version_name(version.name) or version.number < 0:
        raise InvalidVersionName(
            f"version {version.name!r} with number {version.number} cannot be a file name; use the model's naming scheme"
        )
    return version
