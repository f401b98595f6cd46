"""``airflow model-ops`` in this process: Airflow's own parser, connections from the environment, a fleet that is real but small."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import airflow  # noqa: F401 (what it logs when it is imported first must not stand in a command's answer)
import pytest

from tests.adapters.serving_rig import FLEET, Fleet

YAML = """
model: {model}
versions: {{scheme: semantic, prefix: m}}
checks:
  - {{name: errors, kind: error_rate, max: 0.1}}
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return json.loads(self.out)

    @property
    def row(self) -> dict[str, Any]:
        (row,) = self.rows
        return row


@dataclass(kw_only=True)
class CommandLine:
    """Runs commands against a fleet."""

    fleet: Fleet
    models_dir: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def describe(self, *models: str) -> None:
        """Write the YAML files of models."""
        self.models_dir.mkdir(exist_ok=True)
        for model in models:
            (self.models_dir / f"{model}.yaml").write_text(YAML.format(model=model))

    def connect(self, *, initially: str = "empty", **changed: Any) -> None:
        """Define the connections, in the environment as break-glass does."""
        addresses = self.fleet.addresses
        fleet = {
            "fleet": FLEET,
            "servers": ",".join(f"{grpc}/{port}" for grpc, port in addresses.replicas),
            "router_config_dir": addresses.config_dir,
            "router_admin": addresses.admin_url,
            "route_timeout": str(addresses.route_timeout_seconds),
            "initially": initially,
            **changed,
        }
        self._define("MODEL_REPOSITORY_DEFAULT", "model_repository", {"root": addresses.root})
        self._define("TF_SERVING_DEFAULT", "tf_serving", {key: value for key, value in fleet.items() if value})

    def run(self, *words: str, output: str = "json") -> Answer:
        """Run ``airflow model-ops WORDS``."""
        from airflow.cli.cli_parser import get_parser

        self.capsys.readouterr()
        status = 0
        try:
            args = get_parser().parse_args(["model-ops", *words, "--output", output])
            args.func(args)
        except SystemExit as end:
            status = int(end.code or 0)
        said = self.capsys.readouterr()
        return Answer(status=status, out=said.out, err=said.err)

    def _define(self, name: str, conn_type: str, extra: dict[str, Any]) -> None:
        self.monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": conn_type, "extra": extra}))
