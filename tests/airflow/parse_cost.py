"""What parsing costs by our own doing, apart from what Airflow does at the first asset of any DAG."""

from __future__ import annotations

WITHOUT_OTHERS_ASSETS = """
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
ProvidersManagerTaskRuntime.initialize_providers_asset_uri_resources = lambda self: None
"""
"""At the first asset with a URI, Airflow imports the URI handlers of every provider; Google's imports google.cloud and grpc.

That is so for any DAG with any asset (``test_imports.py`` shows it for a bare one) and not ours to mend. Left out, what is seen
is what this package imports itself.
"""
