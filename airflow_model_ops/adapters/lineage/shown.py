"""What a version showed, in numbers that compare versions: on the examples of its validation, and on real traffic. Pure.

Both are taken from the log alone and merged in its order, so they come out the same however the ledger was made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.nodes import json_text
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.state import CANARY, STABLE, ServingState
from airflow_model_ops.core.versioning import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two versions that real traffic is compared on.

    :param subject: The canary; in a watch the version that was promoted.
    :param beside: Stable; in a watch the version held back, which stands for it. ``None`` on a first release.
    """

    subject: Version
    beside: Version | None

    def to_json(self) -> dict[str, Any]:
        """Return the form that the recorded head keeps."""
        return {"subject": self.subject.to_json(), "beside": self.beside.to_json() if self.beside else None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Pair | None:
        """Read what :meth:`to_json` gave; ``None`` if nothing was compared yet.

        :raises ValueError: or KeyError, TypeError, if it is something else.
        """
        if data is None:
            return None
        beside = data["beside"]
        return cls(
            subject=Version.from_json(data["subject"]), beside=None if beside is None else Version.from_json(beside)
        )


def pair_of(state: ServingState) -> Pair | None:
    """Return which versions a state compares; ``None`` if it has neither canary nor hold-back."""
    if state.canary is not None:
        return Pair(subject=state.canary.version, beside=state.stable)
    if state.holdback is not None and state.stable is not None:
        return Pair(subject=state.stable, beside=state.holdback.version)
    return None


def validation_shown(entry: Entry) -> dict[str, Any]:
    """Return what a validation showed: the plain numbers of its detail, by name."""
    return {"at": entry.at, "blessed": entry.detail.get("blessed") is True, "metrics": dict(_numbers(entry.detail))}


def online_shown(entry: Entry, version: Version, pair: Pair | None) -> dict[str, Any]:
    """Return what a verdict shows of a version: by check, what it showed as the canary or as stable; empty if nothing."""
    is_subject = version == entry.version
    beside = pair.beside if pair is not None and pair.subject == entry.version else None
    other = beside if is_subject else entry.version
    arm = CANARY if is_subject else STABLE
    shown: dict[str, Any] = {}
    for assessment in _assessments(entry):
        measured = _measured(assessment["numbers"].get(arm))
        if measured:
            shown[assessment["check"]] = {
                arm: {
                    "at": entry.at,
                    "release": entry.release.release if entry.release else None,
                    "verdict": assessment.get("verdict"),
                    **measured,
                    "beside": other.name if other else None,
                }
            }
    return shown


def merged(structs: Mapping[str, str], adds: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return an artifact's STRUCT properties with what an entry adds: the newest validation, and per check and arm the newest.

    :param structs: JSON text by property.
    """
    after = dict(structs)
    for name, added in adds.items():
        if name == schema.ONLINE:
            checks = json.loads(after.get(name, "{}"))
            after[name] = json_text(checks | {check: checks.get(check, {}) | arms for check, arms in added.items()})
        else:
            after[name] = json_text(added)
    return after


def _assessments(entry: Entry) -> Iterator[Mapping[str, Any]]:
    """Yield a verdict's assessments that have numbers; details of other writers may look otherwise."""
    kept = entry.detail.get("assessments")
    for each in kept if isinstance(kept, list) else ():
        if (
            isinstance(each, Mapping)
            and isinstance(each.get("check"), str)
            and isinstance(each.get("numbers"), Mapping)
        ):
            yield each


def _measured(shown: Any) -> dict[str, Any]:
    """Return the counts of a share with their quotient, or a gauge's value; empty if it was not measured."""
    if isinstance(shown, Mapping):
        counts = dict(_numbers(shown))
        if not counts.get("n") or "bad" not in counts:
            return {}
        return {"n": counts["n"], "bad": counts["bad"], "value": counts["bad"] / counts["n"]}
    return {"value": shown} if _is_number(shown) else {}


def _numbers(detail: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    return ((name, value) for name, value in detail.items() if _is_number(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
