"""What an Envoy router is started with: it listens, and watches the directory of documents for the rest.

The documents are there before Envoy is, so a fresh Envoy serves the current state from its first request.
Source: Envoy v3 API, ``config.bootstrap.v3.Bootstrap``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.serving.envoy_documents import (
    ROUTE_CONFIGURATION,
    Endpoint,
    RouterSettings,
    empty_documents,
)
from airflow_model_ops.adapters.serving.envoy_files import CLUSTERS_FILE, ROUTES_FILE, replace_document

STAT_PREFIX = "router"
"""Names the listener's metrics: ``http.router.rds.models.version_text`` and the like."""

_MONITOR = "envoy.resource_monitors.global_downstream_max_connections"
_HCM = "envoy.filters.network.http_connection_manager"
_HCM_TYPE = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER_TYPE = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_MONITOR_TYPE = (
    "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
)


def bootstrap_document(
    *, listener: Endpoint, admin: Endpoint, config_dir: str, node_id: str, settings: RouterSettings
) -> bytes:
    """Render the bootstrap of one router.

    :param listener: where clients connect.
    :param admin: where metrics are scraped and updates confirmed. Whoever reaches it can stop the router: keep it off
        public networks.
    :param config_dir: absolute directory of the two documents, as Envoy sees it.
    :param node_id: names this router in its own logs and dumps.
    """
    bootstrap = {
        "node": {"id": node_id, "cluster": "model-router"},
        "admin": {"address": _address(admin), "ignore_global_conn_limit": True},
        "dynamic_resources": {"cds_config": _watched(config_dir, file=CLUSTERS_FILE)},
        "static_resources": {"listeners": [_listener(listener, config_dir=config_dir, settings=settings)]},
        # Counters are exact at once, histograms are merged at each flush: the default of 5 s would make the judge wait.
        "stats_flush_interval": "1s",
        "stats_config": {
            "histogram_bucket_settings": [
                {
                    "match": {"safe_regex": {"regex": r"^cluster\..*\.upstream_rq_time$"}},
                    "buckets": list(settings.latency_buckets_ms),
                }
            ]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": _MONITOR,
                    "typed_config": {
                        "@type": _MONITOR_TYPE,
                        "max_active_downstream_connections": settings.max_downstream_connections,
                    },
                }
            ]
        },
    }
    return (json.dumps(bootstrap, indent=1) + "\n").encode()


def ensure_initial_documents(config_dir: Path, *, settings: RouterSettings) -> None:
    """Write empty documents where there are none yet, so that an Envoy can start before the first apply.

    :raises InvalidConfig: if the directory is missing or cannot be written.
    """
    clusters, routes = empty_documents(settings=settings)
    for file, content in ((CLUSTERS_FILE, clusters), (ROUTES_FILE, routes)):
        replace_document(config_dir / file, content=content, only_if_missing=True)


def _listener(listener: Endpoint, *, config_dir: str, settings: RouterSettings) -> dict[str, Any]:
    manager = {
        "@type": _HCM_TYPE,
        "stat_prefix": STAT_PREFIX,
        "rds": {
            "route_config_name": ROUTE_CONFIGURATION,
            "config_source": _watched(config_dir, file=ROUTES_FILE),
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER_TYPE}}],
        # No client is trusted: else its x-envoy-retry-on or x-envoy-upstream-rq-timeout-ms header would change retries
        # and time-outs. An empty list of internal addresses would mean all private ones, so it names one that no
        # connection can come from.
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "normalize_path": True,
        # A stream is bounded by its route's time-out; this one covers a client that stalls while it sends.
        "stream_idle_timeout": f"{settings.route_timeout_seconds:.3f}s",
        "request_headers_timeout": "10s",
        "common_http_protocol_options": {"idle_timeout": "3600s"},
    }
    return {
        "name": "models",
        "address": _address(listener),
        "filter_chains": [{"filters": [{"name": _HCM, "typed_config": manager}]}],
    }


def _watched(config_dir: str, *, file: str) -> dict[str, Any]:
    # The directory is watched, not the file: a watch on a file follows the old one when it is renamed over.
    source = {"path": f"{config_dir}/{file}", "watched_directory": {"path": config_dir}}
    return {"path_config_source": source, "resource_api_version": "V3"}


def _address(endpoint: Endpoint) -> dict[str, Any]:
    return {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}
