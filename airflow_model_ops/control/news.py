"""The news of a model that nobody was told yet: read from its log, and claimed one by one, so that each is told once.

Whoever does something on a model tells what is new there, also of a worker that died and of a person at the command line. A
claim is kept beside the evidence before the message goes out: who dies in between has lost it, and nobody is told twice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator

from airflow_model_ops.control.commit import seconds_of
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.notice import Event, News, news_in
from airflow_model_ops.core.ports import Clock, Repository

PLACE = "notifications"
"""Where claims are kept, as the evidence of a release would be."""
OLDEST_SECONDS = 2 * 3_600.0
"""What has been true for longer is told to nobody any more: it is no news. Longer than an hour, after which all is looked over."""
SETTLE_SECONDS = 0.3
"""How long a claim waits for another that was made in the same moment: the last one counts."""
_MOST_ENTRIES = 64
"""How far back is looked: what a bucket gives at once."""


class NewsDesk:
    """Finds and claims the news of one model."""

    def __init__(self, *, repository: Repository, model: str, clock: Clock) -> None:
        self._repository = repository
        self._model = model
        self._clock = clock

    @property
    def newest(self) -> int:
        """The number of the newest entry of the log: as long as it stays there is nothing new."""
        last = self._repository.log(self._model).last()
        return last.sequence if last is not None else 0

    def untold(self, events: Collection[Event]) -> Iterator[News]:
        """Yield the news of some kinds that nobody has claimed, oldest first."""
        oldest = self._clock.now() - OLDEST_SECONDS
        for news in news_in(self._recent()):
            if news.event in events and seconds_of(news.since) >= oldest and self._kept(news.key) is None:
                yield news

    def claim(self, key: str, *, again_seconds: float | None = None) -> bool:
        """Claim a message; ``False`` if somebody has.

        :param again_seconds: After so long it may be claimed again; ``None``: never.
        """
        kept = self._kept(key)
        if kept is not None and (again_seconds is None or self._clock.now() < kept[1] + again_seconds):
            return False
        claim = uuid.uuid4().hex
        content = json.dumps({"claim": claim, "at": self._clock.now()}).encode()
        self._repository.write_evidence(self._model, PLACE, key, content)
        self._clock.sleep(SETTLE_SECONDS)
        settled = self._kept(key)
        return settled is not None and settled[0] == claim

    def _recent(self) -> list[Entry]:
        log = self._repository.log(self._model)
        return list(log.entries(after=max(0, self.newest - _MOST_ENTRIES)))

    def _kept(self, key: str) -> tuple[str, float] | None:
        content = self._repository.read_evidence(self._model, PLACE, key)
        if content is None:
            return None
        try:
            data = json.loads(content)
            return str(data["claim"]), float(data["at"])
        except (KeyError, TypeError, ValueError):
            return "", self._clock.now()  # somebody's, whatever it says
