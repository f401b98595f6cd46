"""Write the OpenAPI document of the page's API, from which the page's types are made: ``write_openapi.py FILE``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airflow_model_ops.plugin.app import create_app

Path(sys.argv[1]).write_text(json.dumps(create_app().openapi(), indent=1, sort_keys=True), encoding="utf-8")
