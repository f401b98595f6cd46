"""The command that takes over a fleet that serves already."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_model_ops.adapters.repository.remote_directory import is_remote
from airflow_model_ops.cli_commands.output import Outcome
from airflow_model_ops.cli_commands.session import command, connection, directory_of, person
from airflow_model_ops.config.fleet import FleetConfig
from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import ModelFile, load_model_files
from airflow_model_ops.control.adopt import FleetAdopter, ModelAdoption, Treatment
from airflow_model_ops.control.clock import SystemClock
from airflow_model_ops.core.errors import InvalidConfig, ModelOpsError
from airflow_model_ops.hooks.repository import served_root
from airflow_model_ops.hooks.saved_models import SavedModels
from airflow_model_ops.hooks.tf_serving import fleet_of, require_tf_serving, servers_of
from airflow_model_ops.hooks.wiring import Fleet, FleetConnections, open_fleet

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl

_APPLY_SECONDS = 60.0
_FOREIGN_NOTE = "sent along as it is and never unloaded; not behind the router"


@command
def adopt(args: Namespace) -> Outcome:
    """Take over a fleet: its models get their first states, and nothing is unloaded."""
    files = _chosen(args)
    place = FleetPlace(repository=_repository_id(files, args), target=args.connection)
    connections = FleetConnections(repository=connection(place.repository), target=connection(place.target))
    require_tf_serving(connections.target)
    fleet = open_fleet(place, connections)
    root = served_root(connections.repository)
    controls = {model: fleet.control(file, origin=person()) for model, file in files.items()}
    storage = connections.repository.extra_dejson.get("storage_conn_id") or None
    with SavedModels(repository=root, storage_conn_id=storage) as saved_models:
        adopter = _adopter(
            args,
            fleet=fleet,
            config=fleet_of(connections.target),
            controls=controls,
            root=root,
            saved_models=saved_models,
        )
        planned = adopter.plan() if args.dry_run else adopter.adopt()
    rows = [_row(model, dry=args.dry_run) for model in planned]
    failed = None if args.dry_run else _apply(planned, controls, files)
    return Outcome(rows=rows or [{"model": "none", "what": "the file lists no model"}], failed=failed)


def _adopter(
    args: Namespace,
    *,
    fleet: Fleet,
    config: FleetConfig,
    controls: Mapping[str, ModelControl],
    root: str,
    saved_models: SavedModels,
) -> FleetAdopter:
    from airflow_model_ops.adapters.serving.tf_serving_adopt import TfServingAdoption

    store = fleet.repository.fleet(fleet.name)
    models_root = config.models_root or root
    seen_here = path_map({models_root: root, **_pairs(args.path_map, option="--path-map", example="/models=/mnt/m")})
    served = TfServingAdoption(
        store=store,
        servers=servers_of(config, repository=fleet.repository, root=root),
        models_root=models_root,
        config_text=_read(args.model_config_file),
        directories_at=lambda base_path: _directories_at(seen_here(base_path), saved_models),
    )
    return FleetAdopter(
        store=store,
        served=served,
        controls=controls,
        clock=SystemClock(),
        golden=_pairs(args.golden, option="--golden", example="digits=digits-v1.2.3"),
        only_loaded=args.only_loaded,
        directory_of=saved_models.directory_of,
    )


def _directories_at(place: str, saved_models: SavedModels) -> Mapping[int, str]:
    from airflow_model_ops.adapters.serving import tf_serving_inventory as inventory

    if is_remote(place):
        return inventory.numbered_remote_directories(saved_models.remote(place))
    return inventory.numbered_directories(Path(place))


def path_map(pairs: Mapping[str, str]) -> Callable[[str], str]:
    """Return what turns a path or URL of the servers into one of this machine: the longest prefix that fits is replaced."""
    prefixes = sorted(
        ((theirs.rstrip("/"), ours.rstrip("/")) for theirs, ours in pairs.items()),
        key=lambda pair: len(pair[0]),
        reverse=True,
    )

    def seen_here(path: str) -> str:
        given = path.rstrip("/")
        for theirs, ours in prefixes:
            if f"{given}/".startswith(f"{theirs}/"):
                return ours + given.removeprefix(theirs) or "/"
        return given

    return seen_here


def _chosen(args: Namespace) -> dict[str, ModelFile]:
    """Return the files of the models to take over; here a mistake in any file matters: its model would become foreign."""
    files = {
        model: file
        for model, file in load_model_files(directory_of(args)).items()
        if file.target.vertex_ai is None and file.connections.target == args.connection
    }
    unknown = sorted(set(args.only or ()) - files.keys())
    if unknown:
        raise InvalidConfig(
            f"--only names {', '.join(unknown)}, but no YAML file describes such a model with connections.target "
            f"{args.connection!r}"
        )
    return {model: file for model, file in files.items() if not args.only or model in args.only}


def _repository_id(files: Mapping[str, ModelFile], args: Namespace) -> str:
    ids = sorted({file.connections.repository for file in files.values()})
    if len(ids) > 1:
        raise InvalidConfig(
            f"the models' YAML files name different repositories ({', '.join(ids)}); a fleet has one: correct "
            "connections.repository"
        )
    return ids[0] if ids else str(args.repository)


def _apply(
    planned: Sequence[ModelAdoption], controls: Mapping[str, ModelControl], files: Mapping[str, ModelFile]
) -> str | None:
    """Drive the fleet to the first states, so that the routers route the models; return what it does not follow yet."""
    failed = []
    for model in planned:
        if model.treatment is Treatment.FOREIGN:
            continue
        try:
            longest = max(_APPLY_SECONDS, files[model.model].policy().load_seconds)
            controls[model.model].apply(deadline_seconds=longest)
        except ModelOpsError as error:
            failed.append(f"{model.model}: {error}")
    if not failed:
        return None
    return f"adopted, but the fleet does not follow yet: {'; '.join(failed)}; run `airflow model-ops reconcile`"


def _row(model: ModelAdoption, *, dry: bool) -> dict[str, Any]:
    in_place = sum(item.in_place for item in model.imports)
    copied = len(model.imports) - in_place
    return {
        "model": model.model,
        "what": f"would be {model.treatment.value}" if dry else model.treatment.value,
        "stable": model.stable,
        "canary": model.canary,
        "golden": model.golden,
        "loaded": ", ".join(str(number) for number in model.loaded) or "nothing",
        "imported": f"{in_place} in place, {copied} copied",
        "notes": "; ".join(model.notes) or _FOREIGN_NOTE * (model.treatment is Treatment.FOREIGN),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(
            f"--model-config-file {path!r} cannot be read ({error}); give the servers' --model_config_file"
        ) from error


def _pairs(items: Sequence[str] | None, *, option: str, example: str) -> dict[str, str]:
    pairs = {}
    for item in items or ():
        key, equals, value = item.partition("=")
        if not (key and equals and value):
            raise InvalidConfig(f"{option} {item!r} is not of the form {example}")
        pairs[key] = value
    return pairs
