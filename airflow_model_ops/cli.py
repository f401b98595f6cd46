"""``airflow model-ops``: the definitions of its commands, which Airflow imports at every start of its command line.

Only definitions are here; what a command does is imported when it runs.
"""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
    positive_int,
)

_EPILOG = (
    "Exit status: 0 done; 1 refused or failed, with one line that says why; 2 wrong usage. Needs the repository and the "
    "fleet only: Airflow's scheduler and API server may be down. Connections come from AIRFLOW_CONN_..., a secrets backend "
    "or Airflow's database."
)

_MODELS_DIR = Arg(
    ("--models-dir",),
    help="Directory of the models' YAML files (default: option models_dir of section model_ops, or AIRFLOW__MODEL_OPS__MODELS_DIR)",
)
_MODEL = Arg(("model",), help="Name of the model")
_VERSION = Arg(("version",), help="Name of the version, or its serving number")
_REASON = Arg(("--reason",), help="Why; it is kept in the model's log", required=True)
_WAIT = Arg(
    ("--wait",),
    help="Longest to wait for the fleet, in seconds (default: 60, or longer if a version may have to be loaded)",
    type=float,
    metavar="SECONDS",
)
_CONNECTION = Arg(
    ("--connection",), help="Id of the fleet's connection (default: tf_serving_default)", default="tf_serving_default"
)


def get_commands() -> list[CLICommand]:
    """Return what this provider adds to Airflow's command line."""
    return [
        GroupCommand(
            name="model-ops",
            help="Release, roll back and look after models",
            description="Look at models, take them back, and take over a fleet.",
            epilog=_EPILOG,
            subcommands=(*_looking(), *_asking(), *_judging(), *_changing(), *_setting_up()),
        )
    ]


def _looking() -> tuple[ActionCommand, ...]:
    limit = Arg(
        ("--limit",), help="Most entries to show (default: 20)", type=positive_int(allow_zero=False), default=20
    )
    ledger = Arg(("--ledger",), help="Read ML Metadata instead of the log", action="store_true")
    version = Arg(("version",), help="Only this version's files (default: all versions')", nargs="?")
    return (
        _command("models", "show.models", "List models and what they serve"),
        _command("status", "show.status", "Show what a model should serve and what really serves", _MODEL),
        _command("history", "show.history", "List a model's newest log entries, newest first", _MODEL, limit, ledger),
        _command(
            "verify",
            "verify.verify",
            "Check a model's log, files, verdicts and ledger against one another",
            _MODEL,
            version,
        ),
    )


def _asking() -> tuple[ActionCommand, ...]:
    ledger = Arg(("--connection",), help="Id of the ledger's connection (default: as the model's YAML file has it)")
    moment = Arg(("--at",), help="ISO 8601, UTC unless it has an offset (default: now)", metavar="TIME")
    limit = Arg(
        ("--limit",),
        help="Most descendants and entries to look at (default: 100)",
        type=positive_int(allow_zero=False),
        default=100,
    )
    artifact = Arg(
        ("artifact",), help="dataset:NAME, uri:URI, upstream:CONNECTION/ID or version:MODEL/VERSION", metavar="ARTIFACT"
    )
    versions = Arg(("versions",), help="Names of the versions, or serving numbers", nargs="+", metavar="VERSION")
    models = Arg(("models",), help="Names of models (default: all)", nargs="*", metavar="MODEL")
    into = Arg(("--connection",), help="Id of another ledger to record into, e.g. an empty one (default: each model's)")
    return (
        _command("served", "lineage.served", "Show what a model served at a moment", _MODEL, moment, ledger),
        _command(
            "lineage",
            "lineage.lineage",
            "Show where a version comes from and what it led to",
            _MODEL,
            _VERSION,
            limit,
            ledger,
        ),
        _command(
            "blast-radius",
            "lineage.blast_radius",
            "Show what comes from an artifact, who serves it, and the way out",
            artifact,
            ledger,
        ),
        _command("compare", "lineage.compare", "Show versions side by side", _MODEL, versions, ledger),
        _command("record", "lineage.record", "Bring ML Metadata up to the models' logs", models, into),
    )


def _judging() -> tuple[ActionCommand, ...]:
    release = Arg(("release",), help="Id of a past release, as history shows it", nargs="?")
    days = Arg(
        ("--days",),
        help="Instead: run the policy over this many past days of stable against itself",
        type=positive_int(allow_zero=False),
    )
    return (
        _command("forecast", "judge.forecast", "Say how long the checks would need by the present traffic", _MODEL),
        _command("replay", "judge.replay", "Judge a past release, or past days, again", _MODEL, release, days),
    )


def _changing() -> tuple[ActionCommand, ...]:
    to = Arg(
        ("--to",),
        help="'previous' (a live canary ends, else the newest earlier stable version), 'golden', or a version "
        "(default: previous)",
        default="previous",
        metavar="previous|golden|VERSION",
    )
    by_hand = Arg(("--reason",), help="Why; it is kept in the model's log (default: by hand)", default="by hand")
    force = Arg(("--force",), help="Also ban the only version that serves", action="store_true")
    pinned = Arg(("version",), help="Name or serving number of the version (default: the stable one)", nargs="?")
    return (
        _command("rollback", "change.rollback", "Take a model back at once", _MODEL, to, _REASON, _WAIT),
        _command("abort", "change.abort", "End the live release; stable goes on", _MODEL, _REASON, _WAIT),
        _command(
            "end-hold-back",
            "change.end_hold_back",
            "Give stable the share that the version before it keeps after a promotion",
            _MODEL,
            _REASON,
            _WAIT,
        ),
        _command("hold", "change.hold", "Stop shifts and promotions until resumed", _MODEL, by_hand, _WAIT),
        _command("resume", "change.resume", "End a hold", _MODEL, by_hand, _WAIT),
        _command("pin", "change.pin", "Pin the known-good (golden) version", _MODEL, pinned, _WAIT),
        _command("quarantine", "change.quarantine", "Ban a version", _MODEL, _VERSION, _REASON, force, _WAIT),
        _command("lift", "change.lift", "End a version's quarantine", _MODEL, _VERSION, _REASON, _WAIT),
        _command(
            "reconcile",
            "change.reconcile",
            "Apply what is committed, end abandoned releases, and mend drift, on all fleets",
            _WAIT,
        ),
    )


def _setting_up() -> tuple[ActionCommand, ...]:
    return (
        _command(
            "adopt",
            "adopt.adopt",
            "Take over a fleet that serves already, without unloading anything",
            Arg(("--model-config-file",), help="The servers' --model_config_file, in text format", required=True),
            _CONNECTION,
            Arg(
                ("--repository",),
                help="Id of the repository's connection if no model has a YAML file (default: model_repository_default)",
                default="model_repository_default",
            ),
            Arg(("--only",), help="Take over only these models; the others stay foreign", nargs="+", metavar="MODEL"),
            Arg(("--golden",), help="The known-good versions of models", nargs="+", metavar="MODEL=VERSION"),
            Arg(
                ("--path-map",),
                help="Where this machine sees paths of the servers (default: as the servers do)",
                nargs="+",
                metavar="SERVERS=HERE",
            ),
            Arg(("--only-loaded",), help="Import only versions that are loaded or labelled", action="store_true"),
            Arg(("--dry-run",), help="Say what would be done, and change nothing", action="store_true"),
        ),
        _command(
            "envoy-bootstrap",
            "envoy.envoy_bootstrap",
            "Write what an Envoy of a fleet is started with",
            _CONNECTION,
            Arg(("--listen",), help="Where clients connect", required=True, metavar="HOST:PORT"),
            Arg(
                ("--admin",),
                help="Where metrics are scraped and updates confirmed; keep it off public networks",
                required=True,
                metavar="HOST:PORT",
            ),
            Arg(("--out",), help="The file to write", required=True, metavar="FILE"),
            Arg(("--config-dir",), help="The watched directory as Envoy sees it (default: as the connection has it)"),
            Arg(("--node-id",), help="Names this router in its own logs (default: the fleet and the port)"),
            models=False,
        ),
    )


def _command(name: str, function: str, text: str, *args: Arg, models: bool = True) -> ActionCommand:
    return ActionCommand(
        name=name,
        help=text,
        description=f"{text}.",
        epilog=_EPILOG,
        func=lazy_load_command(f"airflow_model_ops.cli_commands.{function}"),
        args=(*args, *((_MODELS_DIR,) if models else ()), ARG_OUTPUT),
    )
