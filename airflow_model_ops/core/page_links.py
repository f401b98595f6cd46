"""Addresses of pages for people. Pure; nothing secret is ever in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlencode, urlsplit

PAGE_PATH = "/plugin/model-ops"
"""The Model Ops page, below ``[api] base_url``."""
_CONSOLE = "https://console.cloud.google.com"


def model_page(base_url: str, model: str | None) -> str:
    """Return the page of a model; ``None``: the list of all models.

    :param base_url: Airflow's ``[api] base_url``, perhaps with a path; empty: the address is a path alone.
    """
    page = f"{without_secrets(base_url)}{PAGE_PATH}"
    return page if model is None else f"{page}/models/{quote(model, safe='')}"


def run_page(base_url: str, run: Mapping[str, str]) -> str:
    """Return Airflow's page of the DAG run that an entry's origin names; empty if it names none."""
    dag_id, run_id = run.get("dag_id"), run.get("run_id")
    if not dag_id or not run_id:
        return ""
    return f"{without_secrets(base_url)}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def prometheus_page(url: str, queries: Iterable[str]) -> str:
    """Return Prometheus's expression browser with each query: what answers raw samples as a table, the others as a graph."""
    fields: dict[str, str] = {}
    for number, query in enumerate(queries):
        table = query.endswith("]")
        fields |= {f"g{number}.expr": query, f"g{number}.tab": "1" if table else "0"}
        if not table:
            fields[f"g{number}.range_input"] = "1h"
    return f"{without_secrets(url)}/graph?{urlencode(fields, quote_via=quote)}"


def vertex_endpoint_page(*, project: str, location: str, endpoint: str) -> str:
    """Return the page of an endpoint in Google's console."""
    place = f"locations/{quote(location, safe='')}/endpoints/{quote(endpoint, safe='')}"
    return f"{_CONSOLE}/vertex-ai/{place}?project={quote(project, safe='')}"


def without_secrets(url: str) -> str:
    """Return a URL without the user, the password, the query and the fragment that somebody may have written into it."""
    place = urlsplit(url.strip())
    return place._replace(netloc=place.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
