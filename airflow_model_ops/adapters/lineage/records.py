"""A log entry as what the ledger keeps of it: one execution, the artifacts it read and wrote, and its contexts. Pure.

An entry always gives the same record, whoever projects it and when; so two writers of one entry collide on its key, and a
ledger that is rebuilt comes out the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.nodes import Direction, Node, Record, Use, filled, json_text
from airflow_model_ops.adapters.lineage.shown import Pair, online_shown, validation_shown
from airflow_model_ops.adapters.lineage.sources import lineage_of, source_uses, upstream_fault
from airflow_model_ops.adapters.lineage.text import stored_name
from airflow_model_ops.core.errors import InvalidState, VersionNotFound
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.state import STABLE, ServingState
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.core.versioning import Version

NO_MANIFEST = "it was recorded without a manifest; where it comes from is not known"
"""What a version's ``upstream_fault`` says if nothing but its name could be recorded."""
_log = logging.getLogger(__name__)


def record_of(
    entry: Entry,
    *,
    model: str,
    manifests: Mapping[Version, Manifest],
    served_before: tuple[Version, ...] = (),
    pair: Pair | None = None,
) -> Record:
    """Return the record of an entry.

    :param served_before: What served or was on trial before the entry, so that a transition is found under what it ended, too.
    :param pair: Which versions were compared last before the entry, so that a verdict is kept with both.
    :param manifests: What is known of the versions of :func:`versions_named`; one without a manifest is recorded by name.
    """
    pushed = manifests.get(entry.version) if entry.name == FactKind.PUSHED and entry.version is not None else None
    lineage = lineage_of(pushed) if pushed is not None else None
    sources = source_uses(pushed, lineage) if pushed is not None else ()
    return Record(
        sequence=entry.sequence,
        execution=_execution(entry, model),
        uses=(*_uses(entry, model, manifests, served_before, pair), *sources),
        contexts=contexts_of(entry, model),
        upstream=lineage.root if lineage is not None else None,
    )


def known_manifest(version: Version, manifest_of: Callable[[Version], Manifest]) -> Manifest | None:
    """Return a version's manifest; ``None`` for one that was adopted from a fleet, whose manifest is lost or cannot be read.

    Such a version is recorded by its name, with :data:`NO_MANIFEST`: one bad file must not stop the ledger.
    """
    try:
        return manifest_of(version)
    except VersionNotFound:
        return None
    except InvalidState as error:
        _log.warning("version=%s %s: %s", version, NO_MANIFEST, error)
        return None


def versions_named(entry: Entry) -> tuple[Version, ...]:
    """Return the versions that an entry's record links to, without repetition."""
    named = [entry.version] if entry.version else []
    if entry.state:
        named += _serving(entry.state)
        if entry.name == Action.RETIRE:
            named += entry.state.retired
    return tuple(dict.fromkeys(named))


def percent_of(entry: Entry) -> float | None:
    """Return the share of the traffic that an entry's version has after it, in percent; ``None`` if it says nothing."""
    if entry.version is None:
        return None
    if entry.state is not None:
        return dict(entry.state.split).get(entry.version, 0.0)
    if entry.name == FactKind.APPLIED:
        share = entry.detail.get("split", {}).get(str(entry.version.number), 0.0)
        return float(share)
    return None


def labels_of(state: ServingState) -> dict[str, str]:
    """Return a state's fleet, labels and hold-back as string properties."""
    canary, golden, holdback = state.canary, state.golden, state.holdback
    return filled(
        fleet=state.fleet,
        stable=state.stable.name if state.stable else None,
        stable_number=str(state.stable.number) if state.stable else None,
        canary=canary.version.name if canary else None,
        canary_number=str(canary.version.number) if canary else None,
        canary_percent=f"{canary.percent:g}" if canary else None,
        golden=golden.version.name if golden else None,
        holdback=holdback.version.name if holdback else None,
        holdback_number=str(holdback.version.number) if holdback else None,
        holdback_percent=f"{holdback.percent:g}" if holdback else None,
    )


def _execution(entry: Entry, model: str) -> Node:
    run, percent = entry.origin.run, percent_of(entry)
    properties = filled(
        model=model,
        sequence=str(entry.sequence),
        generation=str(entry.generation),
        kind=entry.kind.value,
        name=entry.name,
        at=entry.at,
        reason=entry.reason,
        actor_kind=entry.origin.actor.kind.value,
        actor=entry.origin.actor.name,
        percent=None if percent is None else f"{percent:g}",
        release=entry.release.release if entry.release else None,
        attempt=str(entry.release.attempt) if entry.release else None,
        request=entry.origin.request,
        evidence=entry.evidence,
        write_id=entry.write_id,
        digest=entry.digest,
        previous_digest=entry.previous_digest,
        **{key: run.get(key) for key in ("dag_id", "run_id", "task_id", "try")},
    )
    return Node(
        type=schema.EXECUTION_TYPES[entry.name],
        name=schema.numbered_name(model, entry.sequence),
        external_id=schema.entry_key(model, entry.sequence),
        properties={**properties, **_version_properties(entry.version)},
        structs={schema.ENTRY: entry.to_bytes().decode()},
    )


def _uses(
    entry: Entry,
    model: str,
    manifests: Mapping[Version, Manifest],
    served_before: tuple[Version, ...],
    pair: Pair | None,
) -> Iterator[Use]:
    named = versions_named(entry)
    for index, version in enumerate(named):
        use = _version_use(entry, version, index, version_node(model, version, manifests.get(version)))
        yield replace(use, adds=_shown(entry, version, pair))
    if entry.state is not None:
        for index, version in enumerate(version for version in served_before if version not in named):
            yield Use(
                node=version_node(model, version, None),
                direction=Direction.INPUT,
                key="left",
                index=index,
                version=version,
            )
        node = _state_node(model, entry.sequence, {"at": entry.at, **labels_of(entry.state)})
        yield Use(node=node, direction=Direction.OUTPUT, key="state", creates=True)
    elif entry.name == FactKind.APPLIED:
        generation = int(entry.detail.get("generation", entry.generation))
        yield Use(node=_state_node(model, generation, {}), direction=Direction.INPUT, key="state")
    elif entry.name == FactKind.VERDICT:
        yield Use(node=_verdict_node(model, entry), direction=Direction.OUTPUT, key="verdict", creates=True)
        beside = pair.beside if pair is not None and pair.subject == entry.version else None
        adds = _shown(entry, beside, pair)
        if beside is not None and adds:
            yield Use(
                node=version_node(model, beside, None), direction=Direction.INPUT, key=STABLE, version=beside, adds=adds
            )


def _shown(entry: Entry, version: Version | None, pair: Pair | None) -> Mapping[str, Mapping[str, Any]]:
    """Return what an entry tells of how good a version is."""
    if version is None:
        return {}
    if entry.name == FactKind.VALIDATED:
        return {schema.VALIDATION: validation_shown(entry)}
    online = online_shown(entry, version, pair) if entry.name == FactKind.VERDICT else {}
    return {schema.ONLINE: online} if online else {}


def _version_use(entry: Entry, version: Version, index: int, node: Node) -> Use:
    """Return the link to a version: written by a push or an adoption, else read."""
    pushed = entry.name == FactKind.PUSHED
    written = pushed or entry.name == Action.ADOPT
    serves = entry.state is not None and version in _serving(entry.state)
    key = "version" if version == entry.version else "serving" if serves else "retired"
    direction = Direction.OUTPUT if written else Direction.INPUT
    return Use(node=node, direction=direction, key=key, index=index, version=version, renews=pushed)


def _serving(state: ServingState) -> list[Version]:
    beside = state.canary or state.holdback
    return [version for version in (state.stable, beside.version if beside else None) if version is not None]


def version_node(model: str, version: Version, manifest: Manifest | None) -> Node:
    """Return the artifact of a version with what its manifest knows, if it has one."""
    properties = {**filled(model=model), **_version_properties(version)}
    structs: dict[str, str] = {}
    if manifest is None:
        properties |= filled(upstream_fault=NO_MANIFEST)
    else:
        properties |= filled(
            digest=manifest.digest,
            size=str(manifest.size),
            created=manifest.created,
            dataset_version=manifest.dataset_version,
            upstream_fault=upstream_fault(manifest),
        )
        structs = {
            "hyperparameters": json_text(manifest.hyperparameters),
            "metrics": json_text(manifest.metrics),
            "source": json_text(manifest.source),
        }
    name = stored_name(f"{model}/{version.name}")
    return Node(type=schema.MODEL_VERSION, name=name, properties=properties, structs=structs)


def _state_node(model: str, generation: int, properties: Mapping[str, str]) -> Node:
    return Node(
        type=schema.SERVING_STATE,
        name=schema.numbered_name(model, generation),
        properties={"model": model, "generation": str(generation), **properties},
    )


def _verdict_node(model: str, entry: Entry) -> Node:
    verdict = entry.detail.get("verdict")
    properties = filled(
        model=model,
        verdict=None if verdict is None else str(verdict),
        reason=entry.reason,
        evidence=entry.evidence,
        at=entry.at,
    )
    name = schema.numbered_name(model, entry.sequence)
    structs = {"detail": json_text(entry.detail)}
    properties |= _version_properties(entry.version)
    return Node(type=schema.VERDICT, name=name, properties=properties, structs=structs)


def contexts_of(entry: Entry, model: str) -> tuple[Node, ...]:
    """Return what an entry belongs to: its model, and its release and DAG run if it has them."""
    return tuple(_contexts(entry, model))


def _contexts(entry: Entry, model: str) -> Iterator[Node]:
    yield Node(type=schema.MODEL, name=model, properties={"model": model})
    if entry.release:
        release = entry.release.release
        name = stored_name(f"{model}/{release}")
        yield Node(type=schema.RELEASE, name=name, properties=filled(model=model, release=release))
    run = entry.origin.run
    if run.get("dag_id") and run.get("run_id"):
        dag_id, run_id = run["dag_id"], run["run_id"]
        name = stored_name(f"{dag_id}/{run_id}")
        yield Node(type=schema.DAG_RUN, name=name, properties=filled(dag_id=dag_id, run_id=run_id))


def _version_properties(version: Version | None) -> dict[str, str]:
    return filled(version=version.name, serving_number=str(version.number)) if version else {}
