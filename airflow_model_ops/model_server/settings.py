"""What flags and the files they name say together; read before TensorFlow is imported, so that a mistake shows at once."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_model_ops.model_server.config_files import read_metrics_path, read_model_config
from airflow_model_ops.model_server.flags import Flags
from airflow_model_ops.model_server.model_list import ModelEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a server starts with.

    :param entries: The first model list; empty: wait for a reload.
    :param metrics_path: Where the Prometheus page is; ``None``: nowhere.
    """

    flags: Flags
    entries: tuple[ModelEntry, ...]
    metrics_path: str | None


def read_settings(flags: Flags) -> Settings:
    """Read the files that the flags name.

    :raises InvalidConfig: for a file that cannot be used.
    """
    return Settings(
        flags=flags,
        entries=_first_entries(flags),
        metrics_path=read_metrics_path(flags.monitoring_config_file) if flags.monitoring_config_file else None,
    )


def _first_entries(flags: Flags) -> tuple[ModelEntry, ...]:
    if flags.model_config_file:
        return read_model_config(flags.model_config_file)
    if flags.model_base_path:
        return (ModelEntry(name=flags.model_name, base_path=flags.model_base_path),)
    return ()
