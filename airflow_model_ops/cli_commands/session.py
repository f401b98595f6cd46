"""What every command needs: who asks, the model's YAML file, its connections, and how an error ends a command.

Nothing here asks Airflow's scheduler or API server: a connection comes from the environment, a secrets backend, or
Airflow's database, so that the way back works when Airflow does not.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from airflow_model_ops.cli_commands.output import Outcome, print_outcome
from airflow_model_ops.config.model_file import ModelFile, load_model_file
from airflow_model_ops.configured_models import models_dir
from airflow_model_ops.core.errors import InvalidConfig, ModelOpsError
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind
from airflow_model_ops.hooks.wiring import Fleet, FleetConnections, open_fleet

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.control.model_control import ModelControl


def command(function: Callable[[Namespace], Outcome]) -> Callable[[Namespace], None]:
    """Print what a command answers; an error of this package ends it with exit status 1 and one line, no traceback.

    What is logged meanwhile goes to standard error: the answer stands alone on standard output.
    """

    @functools.wraps(function)
    def run(args: Namespace) -> None:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                outcome = function(args)
        except ModelOpsError as error:
            complain(str(error))
            sys.exit(1)
        print_outcome(args, outcome)
        if outcome.failed is not None:
            complain(outcome.failed)
            sys.exit(1)

    return run


def complain(text: str) -> None:
    """Print one line to standard error."""
    sys.stderr.write(f"airflow model-ops: {'; '.join(text.splitlines())}\n")


def person() -> Origin:
    """Return the operating system's user as who acts; behind sudo, who called it."""
    return Origin(actor=Actor(kind=ActorKind.PERSON, name=_user_name()))


def connection(conn_id: str) -> Connection:
    """Return an Airflow connection.

    :raises InvalidConfig: if there is none, naming the secrets backends and the database that do not answer.
    """
    from airflow.configuration import ensure_secrets_loaded

    silent = []
    for backend in ensure_secrets_loaded():
        try:
            found = backend.get_connection(conn_id=conn_id)
        except Exception as error:  # noqa: BLE001 (as Airflow does: a backend that is down must not hide the others)
            silent.append(f"; {type(backend).__name__} does not answer ({type(error).__name__})")
            continue
        if found is not None:
            return cast("Connection", found)  # Airflow has two such classes; both have what our hooks read
    raise InvalidConfig(
        f"connection {conn_id!r} is not defined{''.join(silent)}; define it, or set AIRFLOW_CONN_{conn_id.upper()}"
    )


def directory_of(args: Namespace) -> Path:
    """Return the directory of the models' YAML files.

    :raises InvalidConfig: if it is neither given nor configured, or is not there.
    """
    if args.models_dir is None:
        return models_dir()
    if not Path(args.models_dir).is_dir():
        raise InvalidConfig(f"--models-dir {args.models_dir!r} is not a directory; give that of the models' YAML files")
    return Path(args.models_dir)


def usable_files(args: Namespace) -> dict[str, ModelFile]:
    """Return the YAML files of all models by name; one with a mistake is named and left out."""
    files: dict[str, ModelFile] = {}
    for path in _paths(directory_of(args)):
        try:
            file = load_model_file(path)
        except InvalidConfig as error:
            complain(f"left out: {error}")
            continue
        files.setdefault(file.model, file)
    return files


def model_file(args: Namespace) -> ModelFile:
    """Return the YAML file of the model that a command names; a mistake in another model's file does not matter.

    :raises InvalidConfig: if no file describes the model, or more than one does.
    """
    directory = directory_of(args)
    found, mistakes, names = [], [], []
    for path in _paths(directory):
        try:
            file = load_model_file(path)
        except InvalidConfig as error:
            mistakes.append(str(error))
            continue
        names.append(file.model)
        if file.model == args.model:
            found.append(file)
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidConfig(f"model {args.model!r} is described by {len(found)} files in {str(directory)!r}; keep one")
    known = f"it has {', '.join(sorted(names))}" if names else "it has no usable file"
    raise InvalidConfig(
        "; ".join([f"no file in {str(directory)!r} describes model {args.model!r}: {known}", *mistakes])
    )


def fleet_of(*, repository: str, target: str) -> Fleet:
    """Return an opened repository and fleet by their connections' ids."""
    return open_fleet(FleetConnections(repository=connection(repository), target=connection(target)))


def opened(args: Namespace) -> tuple[ModelFile, ModelControl]:
    """Return the YAML file and the controls of the model that a command names."""
    file = model_file(args)
    fleet = fleet_of(repository=file.connections.repository, target=file.connections.target)
    return file, fleet.control(file, origin=person())


def _user_name() -> str:
    if os.getuid() == 0 and os.environ.get("SUDO_USER"):
        return os.environ["SUDO_USER"]
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an entry
        return f"uid {os.getuid()}"


def _paths(directory: Path) -> list[Path]:
    return sorted([*directory.glob("*.yaml"), *directory.glob("*.yml")])
