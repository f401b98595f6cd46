"""What every command needs: who asks, the model's YAML file, its connections, and how an error ends a command.

Nothing here asks Airflow's scheduler or API server: a connection comes from the environment, a secrets backend, or
Airflow's database, so that the way back works when Airflow does not.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pwd
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from airflow_model_ops.cli_commands.output import Outcome, print_outcome
from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import ModelIdentity, load_ways_back
from airflow_model_ops.configured_models import models_dir
from airflow_model_ops.core.errors import InvalidConfig, ModelOpsError
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind
from airflow_model_ops.hooks.wiring import Fleet, FleetConnections, open_fleet

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.core.versioning import Version


def command(function: Callable[[Namespace], Outcome]) -> Callable[[Namespace], None]:
    """Print what a command answers; an error of this package ends it with exit status 1 and one line, no traceback.

    What is logged meanwhile goes to standard error: the answer stands alone on standard output.
    """

    @functools.wraps(function)
    def run(args: Namespace) -> None:
        # ML Metadata logs two lines each time a ledger is opened; they would stand between a person and the answer.
        logging.getLogger("absl").setLevel(logging.WARNING)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                outcome = function(args)
        except ModelOpsError as error:
            complain(str(error))
            sys.exit(1)
        _answer(args, outcome)
        if outcome.note is not None:
            complain(outcome.note)
        if outcome.then is not None:
            with contextlib.redirect_stdout(sys.stderr):
                later = outcome.then()
            if later is not None:
                complain(later)
        if outcome.failed is not None:
            complain(outcome.failed)
            sys.exit(1)

    return run


def _answer(args: Namespace, outcome: Outcome) -> None:
    """Print the answer now. Whoever has closed the output does without it: what was done is done, and goes on."""
    if sys.stdout is None:
        return
    try:
        print_outcome(args, outcome)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
    except SystemExit as end:  # so rich ends when the output is closed
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _forget_output()


def _forget_output() -> None:
    """Let nothing more be written to a closed pipe, by the end of the interpreter least of all."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


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


def ways_back(args: Namespace) -> dict[str, ModelIdentity]:
    """Return all models with a YAML file by name, as far as their ways back need them; every mistake is told."""
    found = load_ways_back(directory_of(args))
    for _, mistake in found.mistakes:
        complain(mistake)
    return found.models


def way_back(args: Namespace) -> ModelIdentity:
    """Return the model that a command names, as far as its way back needs its YAML file; its mistakes are told.

    :raises InvalidConfig: if no file describes the model.
    """
    directory = directory_of(args)
    found = load_ways_back(directory)
    if args.model not in found.models:
        known = f"it has {', '.join(sorted(found.models))}" if found.models else "it has no usable file"
        mistakes = [mistake for _, mistake in found.mistakes]
        raise InvalidConfig(
            "; ".join([f"no file in {str(directory)!r} describes model {args.model!r}: {known}", *mistakes])
        )
    for model, mistake in found.mistakes:
        if model == args.model:
            complain(f"goes on, but correct this: {mistake}")
    return found.models[args.model]


def fleet_at(place: FleetPlace) -> Fleet:
    """Return an opened fleet and its repository."""
    connections = FleetConnections(repository=connection(place.repository), target=connection(place.target))
    return open_fleet(place, connections)


def opened(args: Namespace) -> tuple[ModelIdentity, ModelControl]:
    """Return what its YAML file says of the model that a command names, and its controls."""
    file = way_back(args)
    fleet = fleet_at(file.place)
    return file, fleet.control(file, origin=person())


def version_of(control: ModelControl, text: str) -> Version:
    """Return the version that a person names, by its name or its serving number."""
    return control.naming.from_number(text) if text.isdecimal() else control.naming.parse(text)


def _user_name() -> str:
    if os.getuid() == 0 and os.environ.get("SUDO_USER"):
        return os.environ["SUDO_USER"]
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an entry
        return f"uid {os.getuid()}"
