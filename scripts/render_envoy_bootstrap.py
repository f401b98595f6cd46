"""Write ``docker/envoy/bootstrap.json``, with which the Envoy of ``docker/compose.yaml`` starts.

Run it again when the bootstrap's shape changes; ``tests/docker`` fails while the committed file is not current.
"""

from __future__ import annotations

from pathlib import Path

from airflow_model_ops.adapters.serving.envoy_bootstrap import bootstrap_document
from airflow_model_ops.adapters.serving.envoy_spec import Endpoint, RouterSettings

TARGET = Path(__file__).resolve().parent.parent / "docker" / "envoy" / "bootstrap.json"
# Inside a container all its addresses are the network's; compose.yaml publishes the listener alone.
_ALL = "0.0.0.0"  # noqa: S104


def render() -> bytes:
    """Return the bootstrap for the compose file's ports and its volume ``envoy``."""
    return bootstrap_document(
        listener=Endpoint(_ALL, 8080),
        admin=Endpoint(_ALL, 9901),
        config_dir="/model-ops/envoy",
        node_id="envoy",
        settings=RouterSettings(),
    )


if __name__ == "__main__":
    TARGET.write_bytes(render())
