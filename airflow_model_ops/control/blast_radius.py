"""Taking one model off the versions that come from a bad artifact, and banning them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field

from airflow_model_ops.control.commit import Commit
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core import blast_radius
from airflow_model_ops.core.errors import InvalidVersionName, TransitionRefused, VersionNotFound

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """What became of versions that were to be banned, by name.

    :param done: Those that are quarantined now.
    :param gone: Those whose files are deleted: nothing can serve them any more.
    :param refused: Why others are not.
    """

    done: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def leave_affected(control: ModelControl, names: Collection[str], *, reason: str) -> Commit:
    """Take a model off its affected versions: see :func:`airflow_model_ops.core.blast_radius.leave_affected`.

    :raises NoRollbackTarget: if there is no clean version; what serves goes on serving.
    """
    return control.go_back(
        lambda state, unusable: blast_radius.leave_affected(
            state,
            affected=blast_radius.versions_named(state, names),
            actor=control.origin.actor,
            reason=reason,
            unusable=unusable,
        )
    )


def quarantine_all(control: ModelControl, names: Collection[str], *, reason: str, force: bool = False) -> Quarantined:
    """Ban versions, each by a transition of its own; one that must not be banned keeps no other from it.

    :param force: Also ban what serves alone; see :func:`airflow_model_ops.core.transitions.quarantine`.
    """
    result = Quarantined()
    known = {version.name for version in blast_radius.versions_named(control.state, names)}
    for name in sorted(names):
        try:
            version = control.naming.parse(name)
            if name not in known:
                control.repository.check_files(control.model, version)
            commit = control.quarantine(version, reason=reason, force=force)
        except VersionNotFound:
            result.gone.append(name)
        except (TransitionRefused, InvalidVersionName) as error:
            result.refused[name] = str(error)
        else:
            _log.info("model=%s %s", control.model, commit.reason)
            result.done.append(name)
    return result
