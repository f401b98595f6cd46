"""What Airflow's plugin manager reads, in every process: so nothing is imported before the API server asks for it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/model-ops"
"""Where the app is mounted, below the path of ``[api] base_url``."""
PAGE = "model-ops"
"""The page's route in Airflow's UI: ``<base_url>/plugin/model-ops``."""
_NAME = "Model Ops"
_TABS = ("dag", "dag_run", "task", "task_instance")
"""The pages of Airflow that get a tab. 3.3 cannot limit a tab to some DAGs: on others it says that it has nothing to show."""
_BUNDLE = f"{URL_PREFIX.removeprefix('/')}/bundle/model_ops.umd.js"
"""Without a leading slash: the UI resolves it against its base, so that a sub-path of ``[api] base_url`` works."""
_ICON = f"{URL_PREFIX.removeprefix('/')}/bundle/icon.svg"
_ICON_DARK = f"{URL_PREFIX.removeprefix('/')}/bundle/icon_dark.svg"


class ModelOpsPlugin(AirflowPlugin):
    """The page *Model Ops*, its API, and a tab on the pages of DAGs, runs and tasks."""

    name = "model_ops"

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The API and the bundle; only the API server asks for them."""
        from airflow_model_ops.plugin.app import create_app

        return [{"app": create_app(), "url_prefix": URL_PREFIX, "name": _NAME}]

    react_apps = [  # noqa: RUF012 (Airflow's own shape)
        {
            "name": _NAME,
            "bundle_url": _BUNDLE,
            "icon": _ICON,
            "icon_dark_mode": _ICON_DARK,
            "destination": "nav",
            "category": "browse",
            "url_route": PAGE,
        },
        *(
            {
                # All share the page's name: the UI keeps a loaded component by it, and runs the bundle's file once.
                "name": _NAME,
                "bundle_url": _BUNDLE,
                "icon": _ICON,
                "icon_dark_mode": _ICON_DARK,
                "destination": destination,
                "url_route": f"{PAGE}-{destination}",
            }
            for destination in _TABS
        ),
    ]
