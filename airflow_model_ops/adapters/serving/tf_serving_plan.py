"""What a TF Serving fleet is to be sent, derived from the heads of its models: pure functions over values.

TF Serving's model list replaces the whole list and cannot be read back, so the list last sent is kept as a document
beside the logs. A pass only ever adds to it; taking away is the unloading's late step.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from airflow_model_ops.adapters.serving.envoy_documents import Endpoint, ModelRoute, cluster_name
from airflow_model_ops.adapters.serving.envoy_spec import WHOLE, hundredths
from airflow_model_ops.adapters.serving.tf_serving_client import LoadState, VersionStatus
from airflow_model_ops.adapters.serving.tf_serving_config import ServedModel, parse_model_server_config
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.ports import FleetPlan, ModelPlan
from airflow_model_ops.core.state import CANARY, GOLDEN, STABLE, ServingState

Statuses = Mapping[str, Mapping[int, VersionStatus] | None]
"""Of one model: per server its versions; ``None`` for a server that does not answer."""
_OUR_LABELS = frozenset({STABLE, CANARY, GOLDEN})
_IDLE_CONTROL_PERCENT = 10.0
"""Control's share while stable serves alone: how noisy the counts are must be known before a release starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One model in the list last sent: its versions and labels, and the generation they were derived from."""

    versions: tuple[int, ...]
    labels: Mapping[str, int] = field(default_factory=dict)
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingDocument:
    """The list last sent to the servers, ours by model and foreign models as text-format ModelConfig entries.

    :param foreign: Models that the fleet served when it was adopted and that no log knows; always sent along.
    :param leaving: Versions that are un-listed, until every server has said that it holds them no longer.
    """

    models: Mapping[str, Listed] = field(default_factory=dict)
    foreign: str = ""
    leaving: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        models = {
            name: {
                "versions": [str(number) for number in listed.versions],
                "labels": {label: str(number) for label, number in sorted(listed.labels.items())},
                "generation": listed.generation,
            }
            for name, listed in sorted(self.models.items())
        }
        leaving = {name: [str(number) for number in numbers] for name, numbers in sorted(self.leaving.items())}
        data = {"models": models, "foreign": self.foreign, "leaving": leaving}
        return json.dumps(data, indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes | None) -> ServingDocument:
        """Read the stored form; nothing stored is an empty list.

        :raises InvalidState: if it cannot be read.
        """
        if content is None:
            return cls()
        try:
            data = json.loads(content)
            models = {
                name: Listed(
                    versions=tuple(int(number) for number in item["versions"]),
                    labels={label: int(number) for label, number in item["labels"].items()},
                    generation=int(item["generation"]),
                )
                for name, item in data["models"].items()
            }
            leaving = {name: tuple(map(int, numbers)) for name, numbers in data["leaving"].items()}
            return cls(models=models, foreign=data["foreign"], leaving=leaving)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidState(
                f"the fleet's serving document cannot be read ({error!r}); restore it or adopt the fleet"
            ) from error


def foreign_names(document: ServingDocument) -> tuple[str, ...]:
    """Return the models that a list sends along for others."""
    return tuple(sorted(entry.name for entry in parse_model_server_config(document.foreign).model_config_list.config))


def extended(document: ServingDocument, plan: FleetPlan) -> ServingDocument:
    """Return the document with every version that a head needs warm added, labels as they were.

    A foreign model that somebody released without adopting it is not listed twice, which would stop the whole fleet.
    """
    models = dict(document.models)
    foreign = foreign_names(document)
    for model, model_plan in plan.models.items():
        if model in foreign:
            continue
        old = models.get(model, Listed(versions=()))
        needed = {version.number for version in model_plan.state.warm}
        versions = tuple(sorted(needed.union(old.versions)))
        if versions:
            models[model] = Listed(versions=versions, labels=old.labels, generation=model_plan.generation)
    leaving = {
        model: tuple(number for number in numbers if number not in models[model].versions)
        if model in models
        else numbers
        for model, numbers in document.leaving.items()
    }
    return replace(document, models=models, leaving={model: numbers for model, numbers in leaving.items() if numbers})


def relabelled(
    document: ServingDocument, plan: FleetPlan, *, ready: Collection[str], statuses: Mapping[str, Statuses]
) -> ServingDocument:
    """Return the document with the labels of the ready models moved; a label goes only to what is available.

    A label that is none of ours came with an adopted fleet: it stays for as long as its version is listed.
    """
    models = dict(document.models)
    for model in ready:
        if model not in models:
            continue
        wanted = {label: version.number for label, version in plan.models[model].state.labels.items()}
        labels = {label: number for label, number in models[model].labels.items() if label not in _OUR_LABELS}
        labels |= {label: number for label, number in wanted.items() if is_available(statuses[model], number)}
        models[model] = replace(models[model], labels=labels)
    return replace(document, models=models)


def reduced(document: ServingDocument, surplus: Mapping[str, Collection[int]]) -> ServingDocument:
    """Return the document without the surplus versions and the labels that point to them."""
    models = {}
    for model, listed in document.models.items():
        gone = set(surplus.get(model, ()))
        versions = tuple(number for number in listed.versions if number not in gone)
        labels = {label: number for label, number in listed.labels.items() if number not in gone}
        if versions:
            models[model] = Listed(versions=versions, labels=labels, generation=listed.generation)
    leaving = {
        model: tuple(sorted({*document.leaving.get(model, ()), *surplus.get(model, ())}))
        for model in {*document.leaving, *surplus}
    }
    return replace(document, models=models, leaving={model: numbers for model, numbers in leaving.items() if numbers})


def served_models(
    document: ServingDocument, *, models_root: str, statuses: Mapping[str, Mapping[int, VersionStatus]]
) -> list[ServedModel]:
    """Return the list to send to one server.

    :param statuses: What this server says of the models that were asked about; a label to a version that is not
        available on it is left out, because TF Serving refuses the whole list over it.
    """
    result = []
    for model, listed in document.models.items():
        known = statuses.get(model)
        labels = {
            label: number for label, number in listed.labels.items() if known is None or _available_on(known, number)
        }
        result.append(
            ServedModel(
                name=model,
                base_path=f"{models_root.rstrip('/')}/{model}/versions",
                versions=listed.versions,
                labels=labels,
            )
        )
    return result


def surplus_versions(
    document: ServingDocument, plan: FleetPlan, *, routed: Mapping[str, Collection[int]], drain_seconds: float
) -> dict[str, frozenset[int]]:
    """Return what may be un-listed per model: named by neither of the last two generations, not routed, drained."""
    surplus: dict[str, frozenset[int]] = {}
    for model, model_plan in plan.models.items():
        listed = document.models.get(model)
        if listed is None or not model_plan.applied or model_plan.settled_seconds < drain_seconds:
            continue
        kept = {version.number for version in model_plan.spare}.union(routed.get(model, ()))
        gone = frozenset(listed.versions) - kept
        if gone:
            surplus[model] = gone
    return surplus


def lacking(listed: Listed, statuses: Mapping[int, VersionStatus]) -> bool:
    """Whether a server knows nothing of a listed version, or has ended it without an error."""
    return any(
        number not in statuses or (statuses[number].state is LoadState.END and not statuses[number].failed)
        for number in listed.versions
    )


def versions_of(document: ServingDocument) -> dict[str, tuple[int, ...]]:
    """Return what a document lists, without labels and generations."""
    return {model: listed.versions for model, listed in document.models.items()}


def left(document: ServingDocument, statuses: Mapping[str, Statuses]) -> ServingDocument:
    """Return the document without the leaving versions that every server says it holds no longer."""
    leaving = {
        model: tuple(number for number in numbers if any(_holds(known, number) for known in statuses[model].values()))
        for model, numbers in document.leaving.items()
    }
    return replace(document, leaving={model: numbers for model, numbers in leaving.items() if numbers})


def behind(document: ServingDocument, statuses: Mapping[str, Statuses]) -> frozenset[str]:
    """Return the servers that answer and have not even begun to unload what is un-listed."""
    begun = {LoadState.UNLOADING, LoadState.END}
    return frozenset(
        server
        for model, numbers in document.leaving.items()
        for server, known in statuses[model].items()
        if known is not None and any(number in known and known[number].state not in begun for number in numbers)
    )


def still_held(model: str, document: ServingDocument, statuses: Statuses) -> frozenset[int]:
    """Return what is listed or leaving, and what else a server has not finished with."""
    held = {*(document.models[model].versions if model in document.models else ()), *document.leaving.get(model, ())}
    return frozenset(held.union(*(not_ended(known) for known in statuses.values() if known is not None)))


def needed_numbers(plan: ModelPlan) -> tuple[int, ...]:
    """Return what must be available before a head counts as applied."""
    return tuple(version.number for version in plan.needed)


def needed_clusters(plan: ModelPlan) -> set[str]:
    """Return the clusters that must be active before a head's routes are written."""
    control = control_cluster(plan)
    versions = {cluster_name(model=plan.model, number=number) for number in needed_numbers(plan)}
    return versions if control is None else versions | {control}


def unready(plan: ModelPlan, statuses: Statuses, *, routed: Collection[int]) -> str | None:
    """Return why a head's versions cannot take traffic yet, or ``None`` if they can.

    Up: every server must answer and have every version available. On a way back (abort, rollback) the servers that
    answer decide, and if none does, a version that gets traffic now may get all of it.
    """
    silent = sorted(server for server, known in statuses.items() if known is None)
    answering = {server: known for server, known in statuses.items() if known is not None}
    if silent and not plan.urgent:
        return f"model server {silent[0]!r} does not answer"
    for number in needed_numbers(plan):
        if not answering:
            if number not in routed:
                return f"no model server answers, and version {number} gets no traffic that would show it is loaded"
            continue
        missing = sorted(server for server, known in answering.items() if not _available_on(known, number))
        if missing and not (plan.urgent and len(missing) < len(answering)):
            return f"version {number} is not available on {', '.join(missing)} yet"
    return None


def failed_load(plan: ModelPlan, statuses: Statuses) -> tuple[int, str, str] | None:
    """Return (number, server, message) of a version the head needs and that a server could not load."""
    for server, known in sorted(statuses.items()):
        for number in needed_numbers(plan):
            status = (known or {}).get(number)
            if status is not None and status.failed:
                return number, server, status.error_message
    return None


def endpoints_of(
    number: int, statuses: Statuses, *, rest: Mapping[str, Endpoint], old: Collection[Endpoint]
) -> tuple[Endpoint, ...]:
    """Return where a version can be asked: where it is available, and where it was while the server does not answer."""
    return tuple(
        endpoint
        for server, endpoint in rest.items()
        for known in (statuses.get(server),)
        if (known is not None and _available_on(known, number)) or (known is None and endpoint in old)
    )


def route_of(plan: ModelPlan, *, active: Collection[str]) -> ModelRoute:
    """Return the route that a head asks for: canary first, stable last.

    :param active: Names of clusters that every router is known to have; control gets traffic over one of these only.
    """
    split = tuple((version.number, percent) for version, percent in reversed(plan.state.split))
    control = control_percent(plan.state) if control_cluster(plan) in active else 0.0
    return ModelRoute(model=plan.model, generation=plan.generation, split=split, control=control)


def control_cluster(plan: ModelPlan) -> str | None:
    """Return the name of the control cluster that a head asks for; ``None`` if it asks for none."""
    stable = plan.state.stable
    if stable is None or not control_percent(plan.state):
        return None
    return cluster_name(model=plan.model, number=stable.number, control=True)


def control_percent(state: ServingState) -> float:
    """Return what part of stable's requests is counted apart, in percent of all: as much as the other arm gets.

    At most half of stable's share, so that both parts can be compared; nothing where a half is below a hundredth of a percent.
    Nothing either while the former stable is held back: then stable is the version on trial, and all of it is counted as one.
    """
    if state.holdback is not None:
        return 0.0
    shares = dict(state.split)
    stable = hundredths(shares.pop(state.stable, 0.0)) if state.stable else 0
    wanted = hundredths(max(shares.values(), default=_IDLE_CONTROL_PERCENT))
    return min(wanted, stable // 2) / (WHOLE // 100)


def interim_route(plan: ModelPlan, old: ModelRoute | None) -> ModelRoute | None:
    """Return the route while a way back waits for its version to load: without the canary, if one got traffic.

    Its generation stays the old one: it is not what the head asks for. Control keeps its part of stable.
    """
    if not plan.urgent or old is None or len(old.split) < 2:
        return None
    banned = {version.number for version in plan.state.quarantined}
    stable, _ = old.split[-1]
    if stable in banned:
        return None
    return replace(old, split=((stable, 100.0),))


def is_available(statuses: Statuses, number: int) -> bool:
    """Whether a version is available on every server that answers, and at least one does."""
    answering = [known for known in statuses.values() if known is not None]
    return bool(answering) and all(_available_on(known, number) for known in answering)


def not_ended(statuses: Mapping[int, VersionStatus]) -> Iterable[int]:
    """Return the versions that a server has not finished with."""
    return (number for number, status in statuses.items() if status.state is not LoadState.END)


def _holds(known: Mapping[int, VersionStatus] | None, number: int) -> bool:
    """Whether a server holds a version; one that does not answer may."""
    return known is None or (number in known and known[number].state is not LoadState.END)


def _available_on(known: Mapping[int, VersionStatus], number: int) -> bool:
    status = known.get(number)
    return status is not None and status.state is LoadState.AVAILABLE
