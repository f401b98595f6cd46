"""Reads the text-format protos of ``--model_config_file`` and ``--monitoring_config_file``."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory
from airflow_model_ops.core.errors import InvalidConfig, RepositoryUnavailable
from airflow_model_ops.model_server.model_list import (
    TENSORFLOW_PLATFORM,
    All,
    Latest,
    ModelEntry,
    Specific,
    VersionPolicy,
)
from airflow_model_ops.model_server.places import place_of
from airflow_model_ops.model_server.status import StatusError

DEFAULT_METRICS_PATH = "/monitoring/prometheus/metrics"


def _policy(policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return All()
    if choice == "specific":
        return Specific(versions=tuple(policy.specific.versions))
    return Latest(num_versions=policy.latest.num_versions if choice == "latest" else 1)


def entries_of(config: Any) -> tuple[ModelEntry, ...]:
    """Translate the list of a ``ModelServerConfig``.

    :param config: A ``tensorflow.serving.ModelServerConfig``.
    """
    return tuple(
        ModelEntry(
            name=model.name,
            base_path=model.base_path,
            platform=TENSORFLOW_PLATFORM if model.model_type else model.model_platform,
            policy=_policy(model.model_version_policy),
            labels=dict(model.version_labels),
        )
        for model in config.model_config_list.config
    )


def _parse(path: Path | str, *, message: Any, kind: str) -> None:
    try:
        text_format.Parse(_content(str(path)).decode(), message)
    except (OSError, RepositoryUnavailable, StatusError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidConfig(f"{str(path)!r} cannot be read ({why}); give the path of a {kind}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"Error parsing text-format {kind}: {path}: {error}") from error


def _content(path: str) -> bytes:
    place = place_of(path)
    if not isinstance(place, RemoteDirectory):
        return place.read_bytes()
    content = place.parent.read(place.name)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return content


def read_model_config(path: Path | str) -> tuple[ModelEntry, ...]:
    """Read a ModelServerConfig in text format. An empty file or list is allowed: a reload may bring models later.

    :raises InvalidConfig: with TF Serving's words for a text that does not parse.
    """
    config = model_server_config_pb2.ModelServerConfig()
    _parse(path, message=config, kind="tensorflow.serving.ModelServerConfig")
    if config.WhichOneof("config") == "custom_model_config":
        raise InvalidConfig(f"{str(path)!r} holds a custom_model_config, which no one serves; use model_config_list")
    return entries_of(config)


def read_metrics_path(path: Path) -> str | None:
    """Read a MonitoringConfig in text format: the path of the metrics, or ``None`` when they are not enabled.

    :raises InvalidConfig: for a text that does not parse.
    """
    config = _monitoring_config()
    _parse(path, message=config, kind="tensorflow.serving.MonitoringConfig")
    prometheus = config.prometheus_config
    return (prometheus.path or DEFAULT_METRICS_PATH) if prometheus.enable else None


def _monitoring_config() -> Any:
    """Make an empty MonitoringConfig; the API package does not ship its proto.

    Source: TF Serving, ``config/monitoring_config.proto``.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="monitoring_config.proto", package="tensorflow.serving")
    file.syntax = "proto3"
    inner = file.message_type.add(name="PrometheusConfig")
    inner.field.add(name="enable", number=1, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
    inner.field.add(name="path", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    outer = file.message_type.add(name="MonitoringConfig")
    outer.field.add(
        name="prometheus_config",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".tensorflow.serving.PrometheusConfig",
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.MonitoringConfig"))()
