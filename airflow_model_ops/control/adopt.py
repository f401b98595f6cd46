"""Taking over a fleet that serves already: its versions get manifests, its models a first state, and it unloads nothing.

The order matters if we are killed: files first (a push is complete or invisible), then, under the fleet lock, the list of
everything that serves, the models' first states, and last the mark that lets the fleet be applied. Files are imported
before the lock is taken, because a copy may take minutes and a rollback of another model must not wait for it. Each
step may be repeated, so adopting twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from airflow_model_ops.control.commit import iso_time
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.errors import (
    FleetBusy,
    InvalidConfig,
    InvalidVersionName,
    NotASavedModel,
)
from airflow_model_ops.core.ports import Clock, FleetStore, FoundModel, PushRequest, ServedFleet
from airflow_model_ops.core.state import CANARY, GOLDEN, STABLE, Canary
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming

_LOCK_WAIT_SECONDS = 15.0


class Treatment(StrEnum):
    """What adopting does with a model of the fleet."""

    ADOPTED = "adopted"
    """It gets its first state."""
    KNOWN = "known"
    """It has a state already and stays as it is."""
    FOREIGN = "foreign"
    """It has no YAML file, or was not chosen: sent along as it is, never changed and never unloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionImport:
    """A version directory that becomes a version of the repository.

    :param directory: Its path on this machine, or its URL in object storage.
    :param in_place: Whether it already is where the repository keeps it; else it is copied.
    :param needed: Whether a server has it loaded or a label names it; the others are skipped if they are no SavedModels.
    """

    version: Version
    directory: str
    in_place: bool
    needed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAdoption:
    """What is done with one model of the fleet, and why.

    :param loaded: Numbers that are available on at least one server.
    """

    model: str
    treatment: Treatment
    loaded: tuple[int, ...]
    stable: Version | None = None
    canary: Version | None = None
    golden: Version | None = None
    imports: tuple[VersionImport, ...] = ()
    notes: tuple[str, ...] = ()


class FleetAdopter:
    """Takes over one fleet.

    :param controls: The models to take over, by name; every other model of the fleet is foreign.
    :param golden: Model to the name or number of its known-good version.
    :param only_loaded: Whether to import only what is loaded or named, and leave the other version directories.
    :param directory_of: Returns a directory of this machine with the files of a path or URL, until the next is asked for.
    """

    def __init__(
        self,
        *,
        store: FleetStore,
        served: ServedFleet,
        controls: Mapping[str, ModelControl],
        clock: Clock,
        golden: Mapping[str, str] | None = None,
        only_loaded: bool = False,
        directory_of: Callable[[str], Path] = Path,
    ) -> None:
        self._store = store
        self._served = served
        self._directory_of = directory_of
        self._controls = controls
        self._clock = clock
        self._golden = dict(golden or {})
        self._only_loaded = only_loaded

    def plan(self) -> tuple[ModelAdoption, ...]:
        """Return what adopting would do; changes nothing.

        :raises InvalidConfig: with everything that stands against it.
        """
        found = self._served.find()
        faults = list(self._unknown_golden(found))
        planned = []
        for model in found:
            control = self._controls.get(model.name)
            if control is None:
                planned.append(_foreign(model))
                continue
            one = _ModelPlanner(found=model, control=control, only_loaded=self._only_loaded)
            planned.append(one.plan(self._golden.get(model.name)))
            faults += [f"model {model.name!r}: {fault}" for fault in one.faults]
        if faults:
            raise InvalidConfig(f"the fleet cannot be adopted, and nothing was changed: {'; '.join(faults)}")
        return tuple(planned)

    def adopt(self) -> tuple[ModelAdoption, ...]:
        """Take the fleet over; return what was done with each model, and what was imported.

        :raises InvalidConfig: as :meth:`plan` does.
        :raises FleetBusy: if another worker holds the fleet lock, or the fleet changed meanwhile; adopt again.
        """
        imported = {model.model: self._import(model) for model in self.plan()}
        with self._store.lock(wait_seconds=_LOCK_WAIT_SECONDS):
            found = {model.name: model for model in self._served.find()}
            planned = self.plan()
            for model in planned:
                _check_imported(model, imported.get(model.model, ()))
            chosen = {model.model: found[model.model] for model in planned if model.treatment is not Treatment.FOREIGN}
            foreign = self._served.keep(chosen)
            for model in planned:
                if model.treatment is Treatment.ADOPTED:
                    self._commit(model)
            self._mark(planned, foreign)
        return tuple(replace(model, imports=imported.get(model.model, ())) for model in planned)

    def _import(self, model: ModelAdoption) -> tuple[VersionImport, ...]:
        control = self._controls.get(model.model)
        if control is None:
            return ()
        done = []
        for item in model.imports:
            try:
                request = PushRequest(
                    directory=self._directory_of(item.directory),
                    created=iso_time(self._clock.now()),
                    source={"adopted_from": item.directory},
                )
                control.push(request, name=item.version.name)
            except NotASavedModel:
                if item.needed:
                    raise
                continue
            done.append(item)
        return tuple(done)

    def _commit(self, model: ModelAdoption) -> None:
        canary = Canary(version=model.canary, percent=0.0) if model.canary else None
        self._controls[model.model].adopt(stable=model.stable, canary=canary, golden=model.golden)

    def _mark(self, planned: tuple[ModelAdoption, ...], foreign: tuple[str, ...]) -> None:
        ours = sorted(model.model for model in planned if model.treatment is not Treatment.FOREIGN)
        self._served.mark_adopted({"at": iso_time(self._clock.now()), "models": ours, "foreign": list(foreign)})

    def _unknown_golden(self, found: tuple[FoundModel, ...]) -> Iterator[str]:
        names = {model.name for model in found} & self._controls.keys()
        for model in sorted(self._golden.keys() - names):
            yield f"golden of model {model!r} is given, but it is not taken over; correct the name or choose it"


class _ModelPlanner:
    """Finds out what to do with one chosen model, and collects what stands against it."""

    def __init__(self, *, found: FoundModel, control: ModelControl, only_loaded: bool) -> None:
        self.faults: list[str] = list(found.faults)
        self._found = found
        self._control = control
        self._repository = control.repository
        self._only_loaded = only_loaded
        self._present = {version.number: version for version in control.repository.versions(control.model)}

    def plan(self, golden: str | None) -> ModelAdoption:
        found, loaded = self._found, tuple(sorted(self._found.available))
        state = self._control.state
        if state.stable or state.canary or state.release or state.earlier:
            if golden is not None and (state.golden is None or golden not in _names_of(state.golden.version)):
                self.faults.append("it has a state already, so its golden version is not set here; use `pin`")
            notes = () if found.managed else ("it has a state, but was not in the list last sent",)
            imports = () if found.managed else tuple(self._imports(set(loaded)))
            return ModelAdoption(
                model=found.name, treatment=Treatment.KNOWN, loaded=loaded, imports=imports, notes=notes
            )
        if not found.everywhere:
            self.faults.append("no version is available on every server; mend that first, or leave it out with --only")
        labels = self._labels(golden)
        imports = tuple(self._imports({*loaded, *labels.values()}))
        versions = {label: self._version(number) for label, number in labels.items()}
        return ModelAdoption(
            model=found.name,
            treatment=Treatment.ADOPTED,
            loaded=loaded,
            stable=versions.get(STABLE),
            canary=versions.get(CANARY),
            golden=versions.get(GOLDEN),
            imports=imports,
            notes=(*found.notes, *_surplus(loaded, labels)),
        )

    def _labels(self, golden: str | None) -> dict[str, int]:
        """Return which number gets which of our labels."""
        found = self._found
        labels = {label: number for label, number in found.labels.items() if label in {STABLE, CANARY, GOLDEN}}
        if found.everywhere:
            labels.setdefault(STABLE, max(found.everywhere))
        if labels.get(CANARY) == labels.get(STABLE):
            labels.pop(CANARY, None)
        if golden is not None:
            try:
                labels[GOLDEN] = golden_number(golden, naming=self._control.naming)
            except InvalidVersionName as error:
                self.faults.append(str(error))
        return labels

    def _imports(self, needed: set[int]) -> Iterator[VersionImport]:
        for number in sorted(needed | self._found.directories.keys()):
            if number in needed:
                yield from self._needed(number)
            elif not self._only_loaded and number not in self._present:
                yield from self._import(number, needed=False)

    def _needed(self, number: int) -> Iterator[VersionImport]:
        problem = _naming_fault(number, naming=self._control.naming)
        if problem is not None:
            self.faults.append(problem)
        elif number in self._found.directories:
            yield from self._import(number, needed=True)
        elif number not in self._present:
            self.faults.append(
                f"version {number} serves, or is to be golden, but this machine sees no directory {number} below its "
                f"base_path {self._found.base_path!r}; mount it here, or say where it is with --path-map"
            )

    def _import(self, number: int, *, needed: bool) -> Iterator[VersionImport]:
        version, directory = self._version(number), self._found.directories[number]
        if version is None:  # nobody serves it, and it has no name here: it stays where it is
            return
        in_place = self._is_place(version, directory)
        if not (in_place and number in self._present):
            yield VersionImport(version=version, directory=directory, in_place=in_place, needed=needed)

    def _is_place(self, version: Version, directory: str) -> bool:
        if directory.rstrip("/") == self._repository.version_uri(self._control.model, version):
            return True
        return self._repository.is_place(self._control.model, version, Path(directory))

    def _version(self, number: int) -> Version | None:
        try:
            return self._control.naming.from_number(number)
        except InvalidVersionName:
            return None


def golden_number(text: str, *, naming: VersionNaming) -> int:
    """Return the serving number of a version given by name or by number.

    :raises InvalidVersionName: if it belongs to neither.
    """
    version = naming.from_number(text) if text.isdecimal() else naming.parse(text)
    return version.number


def _names_of(version: Version) -> tuple[str, str]:
    return version.name, str(version.number)


def _foreign(model: FoundModel) -> ModelAdoption:
    return ModelAdoption(model=model.name, treatment=Treatment.FOREIGN, loaded=tuple(sorted(model.available)))


def _naming_fault(number: int, *, naming: VersionNaming) -> str | None:
    try:
        naming.from_number(number)
    except InvalidVersionName as error:
        if naming.scheme is Scheme.SEMANTIC:
            return str(error)
        return (
            f"serving number {number} has no name in scheme 'timestamp'; set `versions: {{scheme: semantic, prefix: ...}}` in "
            f"its YAML, with the model's name as prefix for example: numbers from 1 on are then ...-v0.0.1 and so on"
        )
    return None


def _surplus(loaded: tuple[int, ...], labels: Mapping[str, int]) -> Iterator[str]:
    surplus = sorted(set(loaded) - set(labels.values()))
    if surplus:
        shown = ", ".join(str(number) for number in surplus)
        yield (
            f"loaded without a label: {shown}; served on until the next cleanup of any model of the fleet (by a "
            "release or housekeeping), which unloads it; adopt it as golden to keep it"
        )


def _check_imported(model: ModelAdoption, done: tuple[VersionImport, ...]) -> None:
    versions = {item.version for item in done}
    missing = [item.version.name for item in model.imports if item.needed and item.version not in versions]
    if missing:
        raise FleetBusy(f"model {model.model!r} began to serve {', '.join(missing)} meanwhile; adopt again")
