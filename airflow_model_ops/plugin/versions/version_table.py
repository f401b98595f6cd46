"""The table of a model's versions: what the repository has of a page of them, and the rows that are made of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.control.commit import head_state
from airflow_model_ops.core.errors import InvalidVersionName
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.ports import KnownVersion, Log, Repository
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.versioning import Version, VersionNaming
from airflow_model_ops.plugin.datamodels.base import RunLink, Who
from airflow_model_ops.plugin.datamodels.versions import VersionRow
from airflow_model_ops.plugin.history import log_walk
from airflow_model_ops.plugin.history.entries import link_to, run_of, who_of
from airflow_model_ops.plugin.plain_values import figures, moment, plain
from airflow_model_ops.plugin.versions.version_names import newest_first, sorted_newest_first

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.rows import HistoryRow
    from airflow_model_ops.adapters.lineage.told import ToldVersion

LOOK_BACK = 256
"""How many of the newest log entries are looked through for the pushes that the ledger does not tell."""
_NO_MANIFEST = "the serving state names it, but the repository has no manifest of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """Who pushed a version, and in which run."""

    who: Who
    run: RunLink | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsPage:
    """What the repository has of some of a model's versions.

    :param names: Of this page, newest first.
    :param known: By name.
    :param state: Of the newest transition; ``None`` before the first.
    :param total: How many versions there are in all.
    """

    names: tuple[str, ...]
    known: Mapping[str, KnownVersion]
    state: ServingState | None
    total: int


def read_page(repository: Repository, model: ModelIdentity, *, limit: int, skip: int) -> VersionsPage:
    """Read a page: the names are listed, at most ``limit`` manifests read. Touches the network where the repository does.

    :raises RepositoryUnavailable: if it cannot be read.
    :raises InvalidState: if the log's newest entries cannot be.
    """
    state = read_state(repository.log(model.model))
    names = newest_first(repository, model)
    if state is not None and (lacking := {version.name for version in named_by(state)} - set(names)):
        names = tuple(sorted_newest_first((*names, *lacking), scheme=model.versions.scheme))
    page = names[skip : skip + limit]
    known = repository.known_versions(model.model, page)
    return VersionsPage(names=page, known=known, state=state, total=len(names))


def read_state(log: Log) -> ServingState | None:
    """Return the state of the newest transition; ``None`` before the first."""
    last = log.last()
    return head_state(log, last) if last is not None and last.generation else None


def read_pushes(log: Log, versions: Collection[str]) -> dict[str, Pushed]:
    """Look for the pushes of some versions in the newest :data:`LOOK_BACK` entries of a log."""
    wanted, found = set(versions), dict[str, Pushed]()
    for entry in islice(log_walk.newest_first(log), LOOK_BACK if wanted else 0):
        if entry.name == FactKind.PUSHED and entry.version is not None and entry.version.name in wanted:
            found[entry.version.name] = Pushed(who=who_of(entry), run=run_of(entry))
            wanted.remove(entry.version.name)
            if not wanted:
                break
    return found


def pushed_of(row: HistoryRow) -> Pushed:
    """Return what the ledger says of a push."""
    kind, _, name = row.actor.partition(" ")
    return Pushed(who=Who(kind=kind, name=name), run=link_to(row.run))


def rows_of(
    page: VersionsPage, *, told: Mapping[str, ToldVersion], pushes: Mapping[str, Pushed], naming: VersionNaming
) -> list[VersionRow]:
    """Return the rows of a page.

    :param told: What the ledger knows, by name.
    :param pushes: Who pushed what, by name.
    """
    status = statuses(page.state) if page.state else {}
    return [
        _row(
            name,
            page.known.get(name),
            status=status.get(name, []),
            told=told.get(name),
            pushed=pushes.get(name),
            number=number_of(name, naming),
        )
        for name in page.names
    ]


def statuses(state: ServingState) -> dict[str, list[str]]:
    """Return what a state says that versions are, by name; those that it does not name are not in it."""
    found: dict[str, list[str]] = {}
    for label, version in _labelled(state):
        found.setdefault(version.name, []).append(label)
    return found


def named_by(state: ServingState) -> set[Version]:
    """Return every version that a state names."""
    return {version for _, version in _labelled(state)}


def _labelled(state: ServingState) -> Iterator[tuple[str, Version]]:
    yield from ((label, version) for label, version in state.labels.items())
    if state.holdback:
        yield "held back", state.holdback.version
    groups = {"earlier": state.earlier, "left": state.left, "quarantined": state.quarantined, "retired": state.retired}
    for label, versions in groups.items():
        yield from ((label, version) for version in versions)


def _row(
    name: str,
    known: KnownVersion | None,
    *,
    status: list[str],
    told: ToldVersion | None,
    pushed: Pushed | None,
    number: str,
) -> VersionRow:
    manifest = known.manifest if known else None
    if known and known.retired and "retired" not in status:
        status = [*status, "retired"]
    if set(status) <= {"golden"}:
        status = [*status, "candidate"]
    blessed = told.row.validation.get("blessed") if told else None
    return VersionRow(
        version=name,
        serving_number=str(manifest.version.number) if manifest else number,
        status=status,
        created=moment(manifest.created) if manifest else None,
        who=pushed.who if pushed else None,
        run=pushed.run if pushed else None,
        dataset_version=manifest.dataset_version if manifest else None,
        metrics=figures(manifest.metrics) if manifest else {},
        hyperparameters=plain(manifest.hyperparameters) if manifest else {},
        digest=manifest.digest if manifest else None,
        size=manifest.size if manifest else None,
        blessed=blessed if isinstance(blessed, bool) else None,
        trouble=known.fault if known else _NO_MANIFEST,
    )


def number_of(name: str, naming: VersionNaming) -> str:
    """Return the serving number of a name; empty for one that does not follow the model's scheme."""
    try:
        return str(naming.parse(name).number)
    except InvalidVersionName:
        return ""
