"""The list of models that a TF Serving is told to serve, checked before it is sent or written.

TF Serving's answers to a wrong list range from an error to hanging until it is restarted, and a reload is not
transactional; so whatever can be known here is refused here, with every mistake in one message.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from google.protobuf import text_format

from airflow_model_ops.adapters.serving import tf_serving_protos as protos
from airflow_model_ops.core.errors import InvalidConfig

MODEL_PLATFORM: Final = "tensorflow"
_MAX_NUMBER: Final = 2**63 - 1
_LABEL: Final = re.compile(r"[A-Za-z0-9_]+")  # Source: tensorflow/serving g3doc/serving_config.md
_URI_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9.+-]*://")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model in a server's list. The version policy is always ``specific``: a server never chooses by itself.

    :param name: The name clients ask for.
    :param base_path: Absolute path or URI, as the *server* sees it, of the directory that holds the number directories.
    :param versions: Serving numbers to keep loaded, at least one; kept in rising order. To serve none, leave the model
        out of the list.
    :param labels: Label to serving number, each one of ``versions``.
    :raises InvalidConfig: with every mistake, if the server would refuse the entry or lose requests over it.
    """

    name: str
    base_path: str
    versions: tuple[int, ...]
    labels: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        mistakes = [*_mistakes_of_place(self), *_mistakes_of_versions(self), *_mistakes_of_labels(self)]
        if mistakes:
            raise InvalidConfig(f"model {self.name!r}: " + "; ".join(mistakes))
        object.__setattr__(self, "versions", tuple(sorted(self.versions)))
        object.__setattr__(self, "labels", MappingProxyType(dict(sorted(self.labels.items()))))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through the constructor; a mapping proxy cannot be pickled."""
        return _unpickled, (self.name, self.base_path, self.versions, dict(self.labels))


def _unpickled(name: str, base_path: str, versions: tuple[int, ...], labels: dict[str, int]) -> ServedModel:
    return ServedModel(name=name, base_path=base_path, versions=versions, labels=labels)


def _mistakes_of_place(model: ServedModel) -> Iterator[str]:
    if not model.name:
        yield "the name is empty; give the model's name"
    if not (posixpath.isabs(model.base_path) or _URI_SCHEME.match(model.base_path)):
        yield (
            f"base_path {model.base_path!r} is relative; give the absolute path or URI under which the server sees it, "
            f"such as '/models/{model.name}/versions'"
        )


def _mistakes_of_versions(model: ServedModel) -> Iterator[str]:
    if not model.versions:
        yield "versions is empty; to unload every version, leave the model out of the list"
    for number, count in Counter(model.versions).items():
        if not 0 <= number <= _MAX_NUMBER:
            yield f"version {number!r} is not a serving number; give one from 0 to {_MAX_NUMBER}"
        if count > 1:
            yield f"version {number!r} is listed {count} times; list it once"


def _mistakes_of_labels(model: ServedModel) -> Iterator[str]:
    for label, number in model.labels.items():
        if not _LABEL.fullmatch(label):
            yield f"label {label!r} has characters that no request path can carry; use letters, digits and '_'"
        if number not in model.versions:
            yield (
                f"label {label!r} points to version {number!r}, which is not among the versions {model.versions!r}: "
                "requests for it would fail with NOT_FOUND; add the version or move the label first"
            )


def check_models(models: Sequence[ServedModel], *, allow_empty: bool = False) -> None:
    """Refuse a list that names a model twice, or that would silently unload everything.

    :param allow_empty: Accept an empty list, which unloads every model of the server.
    :raises InvalidConfig: if the list must not be sent.
    """
    if not models and not allow_empty:
        msg = "the list of models is empty, which would unload every model; pass allow_empty=True if that is meant"
        raise InvalidConfig(msg)
    twice = sorted(name for name, count in Counter(model.name for model in models).items() if count > 1)
    if twice:
        msg = f"models {twice!r} are listed more than once; merge each one's versions and labels into one entry"
        raise InvalidConfig(msg)


def model_server_config(models: Sequence[ServedModel], *, foreign: str = "") -> Any:
    """Return the ``ModelServerConfig`` message of these models, ordered by name, after the foreign ones.

    :param foreign: A text-format ModelServerConfig of models that others manage and that must stay as they are.
    :raises InvalidConfig: if it cannot be parsed or names one of ``models`` too.
    """
    config = parse_model_server_config(foreign)
    both = {entry.name for entry in config.model_config_list.config} & {model.name for model in models}
    if both:
        raise InvalidConfig(
            f"models {sorted(both)!r} are managed here and listed as foreign too; adopt the fleet again"
        )
    config.model_config_list.SetInParent()  # an unset list is refused; an empty one is legal
    for model in sorted(models, key=lambda model: model.name):
        entry = config.model_config_list.config.add(
            name=model.name, base_path=model.base_path, model_platform=MODEL_PLATFORM
        )
        entry.model_version_policy.specific.versions.extend(model.versions)
        entry.version_labels.update(model.labels)
    return config


def parse_model_server_config(text: str) -> Any:
    """Return the message of a text-format ModelServerConfig, the content of a ``--model_config_file``.

    :raises InvalidConfig: if it cannot be parsed.
    """
    config = protos.ModelServerConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise InvalidConfig(
            f"text-format ModelServerConfig cannot be parsed ({error}); give a --model_config_file"
        ) from error
    return config


def model_server_config_text(models: Sequence[ServedModel], *, with_labels: bool = True, foreign: str = "") -> str:
    """Return the file for ``--model_config_file`` of a TF Serving that starts fresh; equal lists give equal text.

    :param with_labels: Write the labels too. A server refuses to start on labels unless it also runs with
        ``--allow_version_labels_for_unavailable_models=true``. Labels of foreign models stay as they are: their fleet
        started with them.
    :raises InvalidConfig: if a model is listed twice. An empty list is fine: such a server waits for its first reload.
    """
    check_models(models, allow_empty=True)
    config = model_server_config(models, foreign=foreign)
    ours = {model.name for model in models}
    for entry in config.model_config_list.config:
        if entry.name in ours and not with_labels:
            entry.ClearField("version_labels")
    return text_format.MessageToString(config)
