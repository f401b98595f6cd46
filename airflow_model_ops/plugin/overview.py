"""The list of models as a projection in memory: no request waits for a log or a fleet, and each is told how old the rows are.

A thread of this process looks at the logs again and again: each model costs the newest entry, and what came since. Fleets
are looked at less often and by other threads, so that a dead one delays no row. It starts with the first request, and
goes to sleep when nobody has asked for a while. Each worker of the API server has a projection of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.plugin.backends.crew import Crew
from airflow_model_ops.plugin.backends.fleet_look import FleetLook, look_at, unanswered
from airflow_model_ops.plugin.backends.openings import fleet_of
from airflow_model_ops.plugin.catalogue import catalogue
from airflow_model_ops.plugin.datamodels.models import ModelRow
from airflow_model_ops.plugin.model_reading import ModelReader, Reading
from airflow_model_ops.plugin.model_rows import row_of

_log = logging.getLogger(__name__)

_READERS = 4
"""Threads per repository: those of a bucket mostly wait."""
_LOOKERS = 8
"""Threads for all fleets; one fleet takes one at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often the projection is brought up to date, in seconds.

    :param logs: Between two looks at a model's log.
    :param fleets: Between two looks at a fleet.
    :param idle: After how long without a request it goes to sleep.
    :param patience: How long a log or a fleet may take before its rows say that it does not answer.
    :param stale: How old a row may be without a request waiting for a newer one.
    :param fresh_look: How long a look at a fleet is shown, if the next one takes its time.
    """

    logs: float = 2.0
    fleets: float = 10.0
    idle: float = 180.0
    patience: float = 5.0
    stale: float = 10.0
    fresh_look: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Some rows, and how old the oldest of them is; ``None`` while none was read."""

    rows: list[ModelRow]
    age_seconds: float | None
    complete: bool


@dataclass(slots=True)
class _Kept:
    """What is known of a model. Its lock is held while it is read."""

    identity: ModelIdentity
    reader: ModelReader
    reading: Reading | None = None
    trouble: str | None = None
    looked_at: float | None = None
    queued_at: float | None = None
    begun_at: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class _KeptFleet:
    look: FleetLook = field(default_factory=FleetLook)
    looked_at: float | None = None
    queued: bool = False
    begun_at: float | None = None


class Projection:
    """The rows of all models.

    :param models: Returns the models there are.
    :param now: Returns seconds that never go back.
    """

    def __init__(
        self,
        *,
        models: Callable[[], Mapping[str, ModelIdentity]] = lambda: catalogue().models,
        cadence: Cadence | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._models = models
        self._cadence = cadence or Cadence()
        self._kept: dict[str, _Kept] = {}
        self._fleets: dict[FleetPlace, _KeptFleet] = {}
        self._readers: dict[str, Crew] = {}
        self._lookers = Crew(size=_LOOKERS, name="model-ops-fleet-look")
        self._changed = threading.Condition()
        self._awake: threading.Event | None = None
        self._asked_at = self._now()
        self._outstanding = 0
        self._progress: dict[str, float] = {}
        """When a look at any log of a repository has ended last."""

    @property
    def is_busy(self) -> bool:
        """Whether logs are being looked at."""
        return self._outstanding > 0

    def rows(self, models: Collection[str], *, wait_seconds: float = 0.15) -> Overview:
        """Return the rows of some models as they are known.

        :param wait_seconds: How long to wait if some were not read for long, or never.
        """
        known = self._models()
        shown = [known[model] for model in sorted(models) if model in known]
        self._wake()
        with self._changed:
            self._changed.wait_for(lambda: self._is_fresh(shown), timeout=wait_seconds)
            now = self._now()
            seen = [kept.looked_at if (kept := self._kept.get(each.model)) else None for each in shown]
            return Overview(
                rows=[self._row(each, now) for each in shown],
                age_seconds=max((now - at for at in seen if at is not None), default=None),
                complete=None not in seen,
            )

    def read_now(self, model: ModelIdentity) -> tuple[ModelRow, Reading]:
        """Read one model's log now, whoever else does, and return its row; the list has it from then on.

        :raises ModelOpsError: if it cannot be read.
        """
        with self._changed:
            kept = self._kept_of(model)
        reading = self._read(kept)
        with self._changed:
            return row_of(model, reading, self._look_of(model, self._now()), trouble=None), reading

    def last_known(self, model: ModelIdentity, *, trouble: str) -> tuple[ModelRow, Reading | None]:
        """Return what was read of a model before, with why it cannot be read now."""
        with self._changed:
            kept = self._kept.get(model.model)
            reading = kept.reading if kept else None
            return row_of(model, reading, self._look_of(model, self._now()), trouble=trouble), reading

    def refresh(self) -> None:
        """Begin to look at every model and fleet that is due; returns at once."""
        known, now = self._models(), self._now()
        with self._changed:
            self._forget_removed(known)
            due = [kept for model in known.values() if (kept := self._kept_of(model)).queued_at is None]
            for kept in due:
                kept.queued_at = now
            self._outstanding += len(due)
        for kept in due:
            crew = self._readers.setdefault(
                kept.identity.connections.repository, Crew(size=_READERS, name="model-ops-log-look")
            )
            crew.submit(partial(self._look, kept))
        for crew in (*self._readers.values(), self._lookers):
            crew.start_missing()
        self._begin_fleets(known)

    def sleep(self) -> None:
        """Let the thread end; the next request starts another one."""
        with self._changed:
            awake, self._awake = self._awake, None
        if awake is not None:
            awake.set()

    def _wake(self) -> None:
        with self._changed:
            self._asked_at = self._now()
            if self._awake is not None:
                return
            ended = threading.Event()
            try:
                threading.Thread(target=self._run, args=(ended,), name="model-ops-overview", daemon=True).start()
            except RuntimeError:  # the process has as many as it may have; rows tell how old they are
                _log.exception(
                    "there is no thread to bring the list of models up to date; the next request tries again"
                )
            else:
                self._awake = ended

    def _run(self, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                self.refresh()
            except Exception:  # noqa: BLE001 (the list must outlive what it cannot read)
                _log.exception("the list of models could not be brought up to date; it is tried again")
            ended.wait(self._cadence.logs)
            with self._changed:
                if self._now() - self._asked_at > self._cadence.idle and self._awake is ended:
                    self._awake = None
                    return

    def _kept_of(self, model: ModelIdentity) -> _Kept:
        kept = self._kept.get(model.model)
        if kept is None or kept.identity.place != model.place:
            kept = self._kept[model.model] = _Kept(identity=model, reader=ModelReader(model.model))
        kept.identity = model
        return kept

    def _forget_removed(self, known: Mapping[str, ModelIdentity]) -> None:
        for model in self._kept.keys() - known.keys():
            del self._kept[model]
        for place in self._fleets.keys() - {model.place for model in known.values()}:
            del self._fleets[place]

    def _look(self, kept: _Kept) -> None:
        former = kept.trouble
        with self._changed:
            kept.begun_at = self._now()
        try:
            self._read(kept)
        except Exception as error:  # noqa: BLE001 (its row tells it; the other models must be read)
            if kept.trouble != former:
                _log.warning("model %r cannot be read: %s", kept.identity.model, error, exc_info=_unforeseen(error))
        with self._changed:
            kept.queued_at = kept.begun_at = None
            self._progress[kept.identity.connections.repository] = self._now()
            self._outstanding -= 1
            last = self._outstanding == 0
            self._changed.notify_all()
        if last:
            self._begin_fleets(self._models())

    def _read(self, kept: _Kept) -> Reading:
        try:
            with kept.lock:
                reading = kept.reader.read(fleet_of(kept.identity))
        except Exception as error:
            with self._changed:
                kept.trouble, kept.looked_at = _told(error), self._now()
            raise
        with self._changed:
            kept.reading, kept.trouble, kept.looked_at = reading, None, self._now()
        return reading

    def _begin_fleets(self, known: Mapping[str, ModelIdentity]) -> None:
        places: dict[FleetPlace, list[ModelIdentity]] = {}
        for model in known.values():
            places.setdefault(model.place, []).append(model)
        now = self._now()
        with self._changed:
            due = [place for place, models in places.items() if self._is_due(place, models, now)]
            for place in due:
                self._fleets[place].queued = True
        for place in due:
            self._lookers.submit(partial(self._look_at_fleet, place, places[place]))

    def _is_due(self, place: FleetPlace, models: list[ModelIdentity], now: float) -> bool:
        """Whether a fleet is to be looked at now: never before all its logs were read, or do not answer."""
        fleet = self._fleets.setdefault(place, _KeptFleet())
        if fleet.queued:
            return False
        if fleet.looked_at is not None and now - fleet.looked_at < self._cadence.fleets:
            return False
        return all(self._is_settled(model, now) for model in models)

    def _is_settled(self, model: ModelIdentity, now: float) -> bool:
        kept = self._kept.get(model.model)
        return kept is not None and (kept.looked_at is not None or self._is_hung(kept, now))

    def _is_hung(self, kept: _Kept, now: float) -> bool:
        """Whether a log does not answer, or so many of its repository that this one's turn does not come."""
        if kept.begun_at is not None:
            return now - kept.begun_at > self._cadence.patience
        if kept.queued_at is None:
            return False
        progress = self._progress.get(kept.identity.connections.repository, kept.queued_at)
        return now - max(progress, kept.queued_at) > self._cadence.patience

    def _look_at_fleet(self, place: FleetPlace, models: list[ModelIdentity]) -> None:
        with self._changed:
            fleet = self._fleets.setdefault(place, _KeptFleet())
            former, fleet.begun_at = fleet.look.health.trouble, self._now()
        try:
            look = self._looked(models)
        except Exception as error:  # noqa: BLE001 (the rows of its models tell it)
            look = FleetLook(health=unanswered(_told(error)))
            if look.health.trouble != former:
                _log.warning("fleet %r cannot be looked at: %s", place.shown, error, exc_info=_unforeseen(error))
        with self._changed:
            fleet.look, fleet.looked_at = look, self._now()
            fleet.queued, fleet.begun_at = False, None
            self._changed.notify_all()

    def _looked(self, models: list[ModelIdentity]) -> FleetLook:
        with self._changed:
            readings = {model.model: self._kept[model.model].reading for model in models if model.model in self._kept}
        heads = {name: reading.head for name, reading in readings.items() if reading and reading.head}
        return look_at(fleet_of(models[0]), models=[model.model for model in models], heads=heads)

    def _is_fresh(self, shown: list[ModelIdentity]) -> bool:
        now = self._now()
        known = (self._kept.get(model.model) for model in shown)
        return all(
            kept is not None and kept.looked_at is not None and now - kept.looked_at < self._cadence.stale
            for kept in known
        )

    def _row(self, model: ModelIdentity, now: float) -> ModelRow:
        kept, look = self._kept.get(model.model), self._look_of(model, now)
        if kept is None:
            return row_of(model, None, look, trouble=None)
        trouble = kept.trouble
        if self._is_hung(kept, now):
            trouble = f"the repository has not answered for more than {self._cadence.patience:g} s"
        return row_of(model, kept.reading, look, trouble=trouble)

    def _look_of(self, model: ModelIdentity, now: float) -> FleetLook:
        fleet = self._fleets.get(model.place)
        if fleet is None:
            return FleetLook()
        if fleet.looked_at is not None and now - fleet.looked_at < self._cadence.fresh_look:
            return fleet.look
        if fleet.begun_at is not None and now - fleet.begun_at > self._cadence.patience:
            return FleetLook(health=unanswered(f"has not answered for more than {self._cadence.patience:g} s"))
        return FleetLook()


def _told(error: Exception) -> str:
    """Return what a row says of an error: the words of one that was not foreseen may be meant for nobody else."""
    if isinstance(error, ModelOpsError):
        return str(error)
    return f"failed ({type(error).__name__}); the API server's log has more"


def _unforeseen(error: Exception) -> Exception | None:
    return None if isinstance(error, ModelOpsError) else error


_projections: list[Projection] = []
_lock = threading.Lock()


def projection() -> Projection:
    """Return this process' projection."""
    with _lock:
        if not _projections:
            _projections.append(Projection())
        return _projections[0]


def forget() -> None:
    """Begin with an empty projection at the next question."""
    with _lock:
        former, _projections[:] = list(_projections), []
    for each in former:
        each.sleep()
