"""The bundled DAGs as a DAG bundle, for installations that would rather not copy a file into their DAG folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle


class ModelOpsDagBundle(BaseDagBundle):
    """Brings the DAGs of every model whose YAML file is in ``[model_ops] models_dir``.

    Configure it in ``[dag_processor] dag_bundle_config_list``::

        {"name": "model-ops", "classpath": "airflow_model_ops.bundles.ModelOpsDagBundle", "kwargs": {}}
    """

    supports_versioning = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    @property
    def path(self) -> Path:
        """The directory of the bundled DAG files: inside the wheel, or ``dags/`` of a checkout."""
        packaged = Path(__file__).parent / "bundled_dags"
        return packaged if packaged.is_dir() else Path(__file__).parents[1] / "dags"

    def get_current_version(self) -> str | None:
        """The DAGs belong to the installed package; they have no version of their own."""
        return None

    def refresh(self) -> None:
        """Nothing to fetch: the files come with the package."""
