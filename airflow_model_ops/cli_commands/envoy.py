"""The command that writes what an Envoy is started with."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_model_ops.cli_commands.output import Outcome, about
from airflow_model_ops.cli_commands.session import command, connection
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.hooks.tf_serving import fleet_of, require_tf_serving, router_settings

if TYPE_CHECKING:
    from airflow_model_ops.adapters.serving.envoy_spec import Endpoint


@command
def envoy_bootstrap(args: Namespace) -> Outcome:
    """Write the bootstrap of one router, and empty documents where its fleet has none yet."""
    from airflow_model_ops.adapters.serving.envoy_bootstrap import bootstrap_document, ensure_initial_documents
    from airflow_model_ops.adapters.serving.envoy_files import replace_document

    target = connection(args.connection)
    require_tf_serving(target)
    config = fleet_of(target)
    settings = router_settings(config)
    watched = Path(config.router_config_dir)
    listener = _endpoint(args.listen, option="--listen")
    content = bootstrap_document(
        listener=listener,
        admin=_endpoint(args.admin, option="--admin"),
        config_dir=args.config_dir or str(watched.absolute()),
        node_id=args.node_id or f"{config.fleet}-{listener.port}",
        settings=settings,
    )
    ensure_initial_documents(watched, settings=settings)
    written = replace_document(Path(args.out), content=content)
    return about(
        {
            "fleet": config.fleet,
            "bootstrap": args.out,
            "written": "yes" if written else "no, it was the same",
            "watches": args.config_dir or str(watched.absolute()),
            "start": f"envoy -c {args.out}",
        },
    )


def _endpoint(text: str, *, option: str) -> Endpoint:
    from airflow_model_ops.adapters.serving.envoy_spec import Endpoint

    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) <= 65535):
        raise InvalidConfig(f"{option} {text!r} is not host:port, such as 0.0.0.0:8080")
    return Endpoint(host.strip("[]"), int(port))
