"""What a TF Serving fleet serves before it is adopted, from its configuration file and its servers' answers: values only.

TF Serving has no API that returns its list of models, so the file it was started with is the only account of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory
from airflow_model_ops.adapters.serving import tf_serving_protos as protos
from airflow_model_ops.adapters.serving.tf_serving_client import LoadState
from airflow_model_ops.adapters.serving.tf_serving_config import MODEL_PLATFORM, parse_model_server_config
from airflow_model_ops.adapters.serving.tf_serving_plan import Listed, ServingDocument, Statuses
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.ports import FoundModel
from airflow_model_ops.core.state import CANARY, GOLDEN, STABLE

_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
Resolved = Mapping[str, Mapping[str, int | None] | None]
"""Of one model: per server what each label resolves to; ``None`` for a server that does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredModel:
    """One entry of a ``--model_config_file``.

    :param entry: The ModelConfig message, kept whole.
    """

    name: str
    base_path: str
    labels: Mapping[str, int]
    entry: Any


def configured_models(text: str) -> tuple[ConfiguredModel, ...]:
    """Return the entries of a text-format ``--model_config_file``, sorted by name.

    :raises InvalidConfig: if it cannot be parsed, or lists a model twice.
    """
    entries = parse_model_server_config(text).model_config_list.config
    twice = sorted(name for name, count in Counter(entry.name for entry in entries).items() if count > 1)
    if twice:
        raise InvalidConfig(
            f"the model configuration file lists {twice!r} more than once; give the file that is in use"
        )
    found = (
        ConfiguredModel(
            name=entry.name, base_path=entry.base_path, labels=dict(sorted(entry.version_labels.items())), entry=entry
        )
        for entry in entries
    )
    return tuple(sorted(found, key=lambda model: model.name))


def found_model(
    model: ConfiguredModel,
    *,
    statuses: Statuses,
    resolved: Resolved,
    directories: Mapping[int, str],
    former: ServingDocument,
) -> FoundModel:
    """Return what a fleet serves of a configured model.

    :param former: The list last sent by us.
    """
    numbers = [
        frozenset(n for n, status in (known or {}).items() if status.state is LoadState.AVAILABLE)
        for known in statuses.values()
    ]
    labels, faults, notes = _agreed_labels(labels_of(model, former), resolved)
    return FoundModel(
        name=model.name,
        base_path=model.base_path,
        available=frozenset().union(*numbers),
        everywhere=frozenset.intersection(*numbers) if numbers else frozenset(),
        labels=labels,
        directories=directories,
        faults=(*_faults(model), *faults),
        notes=(*notes, *_notes(model, labels)),
        managed=model.name in former.models,
    )


def labels_of(model: ConfiguredModel, former: ServingDocument) -> Mapping[str, int]:
    """Return the labels that a model's servers were told last, by us or by the file they started with."""
    told = former.models.get(model.name)
    return told.labels if told else model.labels


def adopted_document(
    former: ServingDocument, *, configured: Iterable[ConfiguredModel], ours: Mapping[str, FoundModel]
) -> ServingDocument:
    """Return the list with everything that the fleet serves: what it listed already, the models taken over, and the rest.

    :param ours: The models that are taken over, with every version that is available somewhere.
    """
    models = dict(former.models)
    for name, found in ours.items():
        models.setdefault(name, Listed(versions=tuple(sorted(found.available)), labels=found.labels))
    entries = {model.name: model.entry for model in (*configured_models(former.foreign), *configured)}
    foreign = protos.ModelServerConfig()
    for name, entry in sorted(entries.items()):
        if name not in models:
            foreign.model_config_list.config.add().CopyFrom(entry)
    return replace(former, models=models, foreign=text_format.MessageToString(foreign))


def numbered_directories(base_path: Path) -> dict[int, str]:
    """Return the version directories below a base path: every SavedModel whose name is a whole number."""
    if not base_path.is_dir():
        return {}
    found = (item for item in sorted(base_path.iterdir()) if _is_number(item.name))
    return {int(item.name): str(item) for item in found if any((item / graph).is_file() for graph in _GRAPHS)}


def numbered_remote_directories(base_path: RemoteDirectory) -> dict[int, str]:
    """Return the same of a place in a bucket, as URLs; one listing of all it holds.

    :raises RepositoryUnavailable: if the bucket does not answer or refuses the credentials.
    """
    holders = {name for name, _, file in (found.name.partition("/") for found in base_path.files()) if file in _GRAPHS}
    return {int(name): f"{base_path}/{name}" for name in sorted(holders) if _is_number(name)}


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _agreed_labels(
    labels: Collection[str], resolved: Resolved
) -> tuple[dict[str, int], tuple[str, ...], tuple[str, ...]]:
    """Return the labels on which all servers agree, faults and notes; the servers count, the file may be older."""
    agreed: dict[str, int] = {}
    faults, notes = [], []
    for label in sorted(labels):
        answers = {answer.get(label) for answer in resolved.values() if answer is not None}
        number = next(iter(answers), None)
        if len(answers) > 1:
            shown = ", ".join(sorted(str(answer) for answer in answers))
            faults.append(f"label {label!r} is not the same on every server ({shown}); send all servers one list first")
        elif number is None:
            notes.append(f"label {label!r} resolves to nothing and is dropped")
        else:
            agreed[label] = number
    return agreed, tuple(faults), tuple(notes)


def _faults(model: ConfiguredModel) -> Iterator[str]:
    platform = model.entry.model_platform
    if platform not in {"", MODEL_PLATFORM}:
        yield f"its platform is {platform!r}, and only {MODEL_PLATFORM!r} can be released"


def _notes(model: ConfiguredModel, labels: Mapping[str, int]) -> Iterator[str]:
    if model.entry.HasField("logging_config"):
        yield "its request logging (logging_config) ends: the lists we send carry none"
    for label, number in labels.items():
        if label not in {STABLE, CANARY, GOLDEN}:
            yield f"label {label!r} stays on version {number} until that is unloaded; no release moves it"
