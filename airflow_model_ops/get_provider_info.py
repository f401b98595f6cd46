"""What this provider brings, as Airflow reads it in every process: therefore without any import of its own."""

from __future__ import annotations

from typing import Any

_NAME = "Model Ops"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the shape of ``airflow/provider_info.schema.json``."""
    return {
        "package-name": "airflow-model-ops",
        "name": _NAME,
        "description": (
            "Release machine-learning models: push, canary, check, promote or roll back, with lineage in ML Metadata."
        ),
        "integrations": [{"integration-name": _NAME, "tags": ["software"]}],
        "operators": [
            {"integration-name": _NAME, "python-modules": [f"airflow_model_ops.operators.{m}" for m in _OPERATORS]}
        ],
        "sensors": [
            {"integration-name": _NAME, "python-modules": [f"airflow_model_ops.sensors.{m}" for m in _SENSORS]}
        ],
        "hooks": [{"integration-name": _NAME, "python-modules": [f"airflow_model_ops.hooks.{m}" for m in _HOOKS]}],
        "triggers": [
            {"integration-name": _NAME, "python-modules": [f"airflow_model_ops.triggers.{m}" for m in _TRIGGERS]}
        ],
        "bundles": [{"integration-name": _NAME, "python-modules": ["airflow_model_ops.bundles"]}],
        "asset-uris": [{"schemes": ["model-ops"], "handler": None}],
        "connection-types": [_repository(), _tf_serving(), _prometheus(), _mlmd()],
        "config": {
            "model_ops": {
                "description": "Settings of the model-ops provider.",
                "options": {
                    "models_dir": {
                        "description": "Directory of the models' YAML files, one per model, for the bundled DAGs and the CLI.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/etc/models",
                        "default": "",
                    },
                },
            },
        },
        "extra-links": [f"airflow_model_ops.links.{link}" for link in ("ModelLink", "MetricsLink", "VertexAILink")],
        "cli": ["airflow_model_ops.cli.get_commands"],
    }


_OPERATORS = (
    "blast_radius",
    "changes",
    "check",
    "guard",
    "promotion_watch",
    "push",
    "rollback",
    "traffic",
    "upkeep",
    "validate",
)
_SENSORS = ("version", "metric", "pipeline")
_HOOKS = ("repository", "tf_serving", "prometheus", "mlmd")
_TRIGGERS = ("canary", "guard", "loading", "pipeline", "promotion_watch", "turn", "version", "watch")


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}


def _repository() -> dict[str, Any]:
    return {
        "connection-type": "model_repository",
        "hook-class-name": "airflow_model_ops.hooks.repository.ModelRepositoryHook",
        "hook-name": "Model repository",
        "ui-field-behaviour": {
            "hidden-fields": ["host", "schema", "login", "password", "port", "extra"],
            "relabeling": {},
            "placeholders": {},
        },
        "conn-fields": {
            "root": _field(
                "Root",
                "Where models, manifests and logs are kept: a directory, the same path on every worker, or a bucket such as "
                "gs://bucket/models or s3://bucket/models.",
            ),
            "storage_conn_id": _field(
                "Storage connection",
                "For a bucket: id of the connection with its credentials, such as google_cloud_default or aws_default. Empty: "
                "what the machine itself is allowed.",
            ),
        },
    }


def _tf_serving() -> dict[str, Any]:
    return {
        "connection-type": "tf_serving",
        "hook-class-name": "airflow_model_ops.hooks.tf_serving.TfServingHook",
        "hook-name": "TF Serving fleet",
        "ui-field-behaviour": {
            "hidden-fields": ["host", "schema", "login", "password", "port", "extra"],
            "relabeling": {},
            "placeholders": {},
        },
        "conn-fields": {
            "fleet": _field("Fleet", "Name of the fleet; its lock and documents are kept under it.", default="default"),
            "servers": _field("Model servers", "host:grpc_port/rest_port of every replica, separated by commas."),
            "models_root": _field("Repository root on the servers", "Empty: the same path as on the workers."),
            "router_config_dir": _field("Router directory", "The directory that every Envoy of the fleet watches."),
            "router_admin": _field("Router admin URLs", "Admin URL of every Envoy, separated by commas."),
            "router_log": _field(
                "Router log files", "Where Envoy's logs can be read here; they say why it refused a document."
            ),
            "route_timeout": _field(
                "Route time-out", "Longest request and least time to drain, such as 30s.", default="30s"
            ),
            "latency_buckets_ms": _field(
                "Latency buckets", "Edges in milliseconds, separated by commas; as in the bootstrap."
            ),
            "initially": _field(
                "Initially",
                "'empty' declares that the fleet served nothing before; otherwise run `airflow model-ops adopt` first.",
                enum=["adopted", "empty"],
                default="adopted",
            ),
        },
    }


def _prometheus() -> dict[str, Any]:
    return {
        "connection-type": "prometheus",
        "hook-class-name": "airflow_model_ops.hooks.prometheus.PrometheusHook",
        "hook-name": "Prometheus",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "extra"],
            "relabeling": {"host": "URL or host", "login": "User", "password": "Password"},
            "placeholders": {"host": "http://prometheus:9090"},
        },
        "conn-fields": {
            "bearer_token": _field(
                "Bearer token", "Sent as Authorization; instead of user and password.", format="password"
            ),
            "verify": _field("TLS verification", "true, false, or the path of a CA bundle.", default="true"),
            "timeout": _field("Time-out", "For one measurement, such as 5s.", default="5s"),
            "external_url": _field(
                "URL for people", "Where browsers find it, for links to its queries. Empty: the URL above."
            ),
        },
    }


def _mlmd() -> dict[str, Any]:
    return {
        "connection-type": "mlmd",
        "hook-class-name": "airflow_model_ops.hooks.mlmd.MlmdHook",
        "hook-name": "ML Metadata",
        "ui-field-behaviour": {
            "hidden-fields": ["extra"],
            "relabeling": {"schema": "Database"},
            "placeholders": {"host": "db.example (not for sqlite)", "port": "5432, 3306 or 8080", "schema": "mlmd"},
        },
        "conn-fields": {
            "kind": _field(
                "Kind",
                "SQLite needs a path; a server a host, and PostgreSQL and MySQL also a database, login and password.",
                enum=["sqlite", "postgresql", "mysql", "grpc"],
                default="sqlite",
            ),
            "path": _field("SQLite file", "Where the embedded store is kept; its directory is made if it is missing."),
            "tls": _field("TLS", "For PostgreSQL and gRPC servers.", enum=["off", "on"], default="off"),
            "ca_file": _field("TLS authority", "PEM file that vouches for the server; empty: the system's."),
            "timeout": _field("Time-out", "How long a server may take for one answer, such as 10s.", default="10s"),
            "retry": _field("Retry", "How long others may hold the store, such as 20s.", default="20s"),
        },
    }
