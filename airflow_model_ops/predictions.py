"""Joining labels that arrive late to the version that answered.

Import it where predictions are made and labels arrive; it needs ``prometheus_client`` and nothing of Airflow::

    from airflow_model_ops.predictions import PredictionJournal

    journal = PredictionJournal("digits")
    journal.answered(order_id, response.headers["x-model-version"])   # at once
    journal.labelled(order_id, "wrong")                               # hours later

The label is counted for the version that answered, and not for the one that serves by then. Labels of predictions that were
made before the newest version came are left out: the canary has no labels from then, and comparing its Tuesday with
stable's Monday would compare the days.

The journal lives in one process and is gone with it. Where labels arrive in another one, keep the version beside the
prediction in your own storage and call :func:`airflow_model_ops.metrics.count_prediction` with it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, Counter

from airflow_model_ops.metrics import Outcome, count_prediction

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LEFT_OUT = "model_labels_left_out_total"

_left_out_by_registry: WeakKeyDictionary[CollectorRegistry, Counter] = WeakKeyDictionary()
_lock = threading.Lock()


class LabelFate(StrEnum):
    """What became of a label."""

    COUNTED = "counted"
    """It was counted for the version that answered."""
    UNKNOWN = "unknown"
    """Nobody noted such a prediction, or it was labelled already, or forgotten for newer ones."""
    TOO_LATE = "too_late"
    """The prediction is older than the journal remembers."""
    BEFORE_NEWEST = "before_newest"
    """The prediction was made before the newest version came."""


class PredictionJournal:
    """Remembers which version answered until the label comes, and then counts it. May be used from several threads.

    What is left out is counted in ``model_labels_left_out_total{model,reason}``, so that a journal that is too small shows.

    :param model: The model's name.
    :param max_predictions: How many wait for their label at most; the oldest are forgotten first. One takes about 300 bytes.
    :param max_age_seconds: How long a prediction waits. A version that did not answer for so long is new again.
    :param registry: Where the counts are kept; ``None`` is prometheus_client's own registry.
    :param clock: Seconds since the epoch.
    :raises ValueError: if a limit is not above 0.
    """

    def __init__(
        self,
        model: str,
        *,
        max_predictions: int = 100_000,
        max_age_seconds: float = 86_400.0,
        registry: CollectorRegistry | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not (max_predictions >= 1 and math.isfinite(max_age_seconds) and max_age_seconds > 0):
            raise ValueError(
                f"journal of {model!r} got max_predictions {max_predictions!r} and max_age_seconds {max_age_seconds!r}; "
                "write a count of at least 1 and seconds above 0"
            )
        self._model = model
        self._max_predictions = max_predictions
        self._max_age_seconds = max_age_seconds
        self._registry = registry
        self._clock = clock
        self._left_out = _left_out_counter(registry)
        self._waiting: OrderedDict[Hashable, tuple[str, float]] = OrderedDict()
        self._answered_at: dict[str, float] = {}
        self._newest_came_at = -math.inf
        self._journal_lock = threading.Lock()

    def __len__(self) -> int:
        """Count the predictions that wait for their label."""
        with self._journal_lock:
            return len(self._waiting)

    def answered(self, prediction: Hashable, version: str | int) -> None:
        """Note which version answered: the response header ``x-model-version``.

        :param prediction: What the label will name, such as an order's number. Noted again, the newer answer counts.
        :raises ValueError: if the version is empty: without the header nobody knows who answered.
        """
        text = str(version).strip()
        if not text:
            raise ValueError(f"prediction {prediction!r} has no version; pass the response header x-model-version")
        with self._journal_lock:
            now = self._clock()
            known_at = self._answered_at.get(text)
            if known_at is None or now - known_at > self._max_age_seconds:
                self._newest_came_at = now
            self._answered_at[text] = now
            self._waiting.pop(prediction, None)
            self._waiting[prediction] = text, now
            self._forget(now)

    def labelled(self, prediction: Hashable, outcome: str) -> LabelFate:
        """Count a prediction's outcome for the version that answered, once.

        :param outcome: One of :class:`~airflow_model_ops.metrics.Outcome`.
        :raises ValueError: if the outcome is unknown.
        """
        if outcome not in set(Outcome):
            raise ValueError(f"outcome {outcome!r} is unknown; choose one of {', '.join(Outcome)}")
        with self._journal_lock:
            version, made_at = self._waiting.pop(prediction, (None, math.nan))
            fate = self._fate(version, made_at)
        if version is not None and fate is LabelFate.COUNTED:
            count_prediction(self._model, version, outcome, registry=self._registry)
        else:
            self._left_out.labels(model=self._model, reason=fate.value).inc()
        return fate

    def _fate(self, version: str | None, made_at: float) -> LabelFate:
        if version is None:
            return LabelFate.UNKNOWN
        if self._clock() - made_at > self._max_age_seconds:
            return LabelFate.TOO_LATE
        return LabelFate.COUNTED if made_at >= self._newest_came_at else LabelFate.BEFORE_NEWEST

    def _forget(self, now: float) -> None:
        """Make room. What is past its age goes after as long again: until then its label is told from an unknown one."""
        while self._waiting:
            _, made_at = next(iter(self._waiting.values()))
            if len(self._waiting) <= self._max_predictions and now - made_at <= 2 * self._max_age_seconds:
                break
            self._waiting.popitem(last=False)
        for version, at in list(self._answered_at.items()):
            if now - at > self._max_age_seconds:
                del self._answered_at[version]


def _left_out_counter(registry: CollectorRegistry | None) -> Counter:
    """Give the counter of a registry, made at first use: importing this module registers nothing."""
    chosen = REGISTRY if registry is None else registry
    with _lock:
        counter = _left_out_by_registry.get(chosen)
        if counter is None:
            counter = Counter(LEFT_OUT, "Labels that were not counted", ("model", "reason"), registry=chosen)
            _left_out_by_registry[chosen] = counter
        return counter
