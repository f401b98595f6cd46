"""The models of this installation: the YAML files in ``[model_ops] models_dir``."""

from __future__ import annotations

import logging
from pathlib import Path

from airflow.sdk import conf

from airflow_model_ops.config.model_file import ModelFile, ModelIdentity, load_model_files, load_ways_back
from airflow_model_ops.core.errors import InvalidConfig

_log = logging.getLogger(__name__)


def models_dir() -> Path:
    """Return the directory of the YAML files.

    :raises InvalidConfig: if ``[model_ops] models_dir`` is not set or is not a directory.
    """
    value = conf.get("model_ops", "models_dir", fallback="") or ""
    if not value:
        raise InvalidConfig(
            "[model_ops] models_dir is not set; set it (or AIRFLOW__MODEL_OPS__MODELS_DIR) to the directory of your models' "
            "YAML files"
        )
    directory = Path(value)
    if not directory.is_dir():
        raise InvalidConfig(
            f"[model_ops] models_dir is {value!r}, which is not a directory; create it or correct the setting"
        )
    return directory


def usable_models() -> dict[str, ModelFile]:
    """Return every model whose file is right, by name: those that may be released.

    A mistake in one model's file must not take away the releases of another model: files with mistakes are left out here
    and reported by :func:`check_models`, which a DAG file of its own calls.
    """
    return {name: model for name, model in models_for_ways_back().items() if isinstance(model, ModelFile)}


def models_for_ways_back() -> dict[str, ModelIdentity]:
    """Return every model whose file says which model it is and where it is, by name: those that may be taken back.

    A mistake elsewhere in a model's file must not take away its own way back either.
    """
    try:
        found = load_ways_back(models_dir())
    except InvalidConfig as error:
        _log.warning("%s", error)
        return {}
    for _, mistake in found.mistakes:
        _log.warning("%s", mistake)
    return found.models


def check_models() -> dict[str, ModelFile]:
    """Return all models.

    :raises InvalidConfig: with every mistake of every file, each with file and line.
    """
    return load_model_files(models_dir())
