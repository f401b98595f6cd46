"""The right side of a version's lineage graph: what was made from it, its releases and what else was done to it, and what it
serves as now. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_model_ops.core.log import EntryKind, FactKind
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.plugin.history.entries import link_to
from airflow_model_ops.plugin.lineage.graph_parts import GraphParts

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.blast_radius import AffectedVersion
    from airflow_model_ops.adapters.lineage.rows import HistoryRow

MOST_VERSIONS = 24
"""Versions made from it that are shown."""
MOST_ENTRIES = 12
"""Releases, and single entries outside of one, that are shown."""
RIGHT_COLUMN = 1
"""Of all but versions that were made from versions made from this one; no arrow passes a column."""
HIDDEN_MODEL = "a model you may not see"
_SAME, _MADE = "pushed from the same artifact", "made from it"
_Key = tuple[str, str]
"""A model's name and a version's."""
_TOLD_ELSEWHERE = frozenset({FactKind.PUSHED.value, FactKind.APPLIED.value})
"""Facts that are no nodes: the push is on the left, and what was applied follows its transition."""


def add_descendants(
    graph: GraphParts, model: str, version: str, found: Sequence[AffectedVersion], *, readable: Collection[str]
) -> bool:
    """Add the versions made from a version; return whether there are more than are shown.

    A model that the caller may not see is one node without a name, and no words of the ledger name it either.

    :param readable: Models that the caller may see.
    """
    shown = found[:MOST_VERSIONS]
    own = model, version
    bases = _bases(own, shown)
    nodes = {own: node_of(model, version)}
    columns = {key: RIGHT_COLUMN + _steps_between(own, key, bases) for key in bases}
    # The nearest first: all versions of a model that is not named are one node, which stands where the first of them does.
    for each in sorted(shown, key=lambda each: columns[each.model, each.version]):
        key = each.model, each.version
        nodes[key] = _add_descendant(graph, each, found, readable=readable, column=columns[key])
    for each in shown:
        base, node = nodes[bases[each.model, each.version]], nodes[each.model, each.version]
        if base == node:  # two versions of one model that is not named
            continue
        graph.link(base, node, _SAME if each.because.startswith(_SAME) else _MADE)
    return len(found) > MOST_VERSIONS


def add_entries(graph: GraphParts, version: str, rows: Sequence[HistoryRow], *, node: str) -> bool:
    """Add releases, each as one node, and single entries outside of one, newest first; return whether there are more.

    :param rows: Newest first.
    :param node: The node of the version.
    """
    groups = list(_groups(rows))
    for key, group in groups[:MOST_ENTRIES]:
        newest = next((row for row in group if row.kind == EntryKind.TRANSITION), group[0])
        about_it = any(row.version == version for row in group)
        detail: dict[str, str | None] = {
            "at": newest.at,
            "by": newest.actor,
            "what": newest.name.replace("_", " "),
            "why": newest.reason,
        }
        if newest.release:
            verdict = next((row.detail.get("verdict") for row in group if row.name == FactKind.VERDICT), None)
            detail |= {"release": newest.release, "entries": str(len(group)), "verdict": verdict and str(verdict)}
        label = f"release {newest.release.rpartition('/')[2]}" if newest.release else newest.name.replace("_", " ")
        entry = graph.add(key, kind="entry", label=label, column=RIGHT_COLUMN, detail=detail, run=link_to(newest.run))
        graph.link(node, entry, "released in" if newest.release and about_it else "took part in")
    return len(groups) > MOST_ENTRIES


def add_serving(graph: GraphParts, version: str, state: ServingState, *, node: str) -> None:
    """Add what a version serves as now."""
    labels = [label for label, each in state.labels.items() if each.name == version]
    if state.holdback and state.holdback.version.name == version:
        labels.append("held back")
    share = next((percent for each, percent in state.split if each.name == version), None)
    for label in labels:
        percent = None if share is None or label == "golden" else f"{share:g} %"
        serving = graph.add(
            f"serving:{label}", kind="serving", label=label, column=RIGHT_COLUMN, detail={"traffic": percent}
        )
        graph.link(node, serving, "is now")


def node_of(model: str, version: str) -> str:
    """Return the id of a version's node."""
    return f"version:{model}/{version}"


def _bases(own: _Key, found: Sequence[AffectedVersion]) -> dict[_Key, _Key]:
    """Return what each was made from, as far as that is shown: the last word of why it is here."""
    keys = {f"{of}/{name}": (of, name) for of, name in (own, *((each.model, each.version) for each in found))}
    return {(each.model, each.version): keys.get(each.because.rpartition(" ")[2], own) for each in found}


def _steps_between(own: _Key, key: _Key, bases: Mapping[_Key, _Key]) -> int:
    """Return how many versions lie between two; a ledger that was altered may hold a circle."""
    steps, seen = 0, {key}
    while (key := bases.get(key, own)) != own and key not in seen:
        steps += 1
        seen.add(key)
    return steps


def _add_descendant(
    graph: GraphParts,
    each: AffectedVersion,
    found: Sequence[AffectedVersion],
    *,
    readable: Collection[str],
    column: int,
) -> str:
    if each.model in readable:
        detail = {"model": each.model, "serving number": each.serving_number, "pushed": each.pushed_at}
        node = node_of(each.model, each.version)
        return graph.add(node, kind="version", label=each.version, column=column, detail=detail, model=each.model)
    hidden = list(dict.fromkeys(other.model for other in found if other.model not in readable))
    count = sum(other.model == each.model for other in found)
    node = f"hidden:{hidden.index(each.model) + 1}"
    return graph.add(node, kind="version", label=HIDDEN_MODEL, column=column, detail={"versions": str(count)})


def _groups(rows: Sequence[HistoryRow]) -> Iterator[tuple[str, list[HistoryRow]]]:
    """Yield the entries of each release together, and each other entry by itself, the newest first."""
    groups: dict[str, list[HistoryRow]] = {}
    for row in rows:
        if row.name == FactKind.PUSHED or (row.name in _TOLD_ELSEWHERE and not row.release):
            continue
        groups.setdefault(f"release:{row.release}" if row.release else f"entry:{row.sequence}", []).append(row)
    yield from groups.items()
