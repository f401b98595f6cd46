"""Version names and the serving numbers that TensorFlow Serving knows them by.

A model has one naming scheme (and, for semantic versions, one prefix), so that name and number are a bijection:

>>> naming = VersionNaming(scheme=Scheme.TIMESTAMP)
>>> naming.parse("v-20230601-120000").number
20230601120000
>>> VersionNaming(scheme=Scheme.SEMANTIC, prefix="segmentation").from_number(100020003).name
'segmentation-v1.2.3'

TensorFlow Serving orders versions by number, and so do we. Numbers leave Python as strings (XCom, JSON, ML Metadata):
they do not fit the 32-bit integers of ML Metadata on PostgreSQL and MySQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import total_ordering
from typing import Any

from airflow_model_ops.core.errors import InvalidConfig, InvalidVersionName

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")
"""What a model may be called: it becomes a directory, part of a URL and of a metric's labels."""

_TIMESTAMP_NAME = re.compile(r"v-(\d{8})-(\d{6})\Z", re.ASCII)
_SEMANTIC_NAME = re.compile(r"(?P<prefix>.+)-v(?P<major>\d{1,9})\.(?P<minor>\d{1,9})\.(?P<patch>\d{1,9})\Z", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}\Z")
_TIME_FORMAT = "%Y%m%d%H%M%S"
_MAJOR_UNIT, _MINOR_UNIT = 10**8, 10**4
_MAX_MAJOR, _MAX_MINOR = 99_999, 9_999
_MAX_NUMBER = 2**63 - 1  # the int64 of TensorFlow Serving
_OLDEST_YEAR = 1000  # below it the date would not give 14 digits


class Scheme(StrEnum):
    """How a model's versions are named."""

    TIMESTAMP = "timestamp"
    """``v-YYYYMMDD-HHMMSS`` in UTC; the number is the 14 digits."""
    SEMANTIC = "semantic"
    """``<prefix>-v<major>.<minor>.<patch>``; the number is major*10^8 + minor*10^4 + patch."""


def check_model_name(model: str) -> str:
    """Return a model name unchanged.

    :raises InvalidConfig: if it could not be a directory, a URL segment and a metric label at once.
    """
    if not MODEL_NAME.match(model):
        raise InvalidConfig(
            f"model name {model!r} is not usable; use 1 to 100 letters, digits, '_', '-' or '.', starting with a letter "
            "or digit"
        )
    return model


@total_ordering
@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable SavedModel of a model: its name for people and its serving number. Ordered by number."""

    name: str
    number: int

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        return self.number < other.number

    def __str__(self) -> str:
        return self.name

    def to_json(self) -> dict[str, str]:
        """Return the form that goes into JSON; the number as a string."""
        return {"name": self.name, "number": str(self.number)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Version:
        """Read what :meth:`to_json` wrote.

        :raises ValueError: or KeyError, TypeError, OverflowError, if it is something else.
        """
        name, number = data["name"], int(data["number"])
        if not isinstance(name, str) or not 0 <= number <= _MAX_NUMBER:
            raise ValueError(f"version {name!r} with number {number} is none: a text and a 64-bit number are")
        return cls(name=name, number=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionNaming:
    """The naming scheme of one model.

    :param prefix: The part before ``-v`` of semantic names; ``None`` for timestamps.
    :raises InvalidConfig: if prefix and scheme do not fit together.
    """

    scheme: Scheme = Scheme.TIMESTAMP
    prefix: str | None = None

    def __post_init__(self) -> None:
        if self.scheme is Scheme.TIMESTAMP and self.prefix is not None:
            raise InvalidConfig(
                f"versions.prefix {self.prefix!r} belongs to semantic versions; timestamp names have none: remove it or set "
                "scheme: semantic"
            )
        if self.scheme is Scheme.SEMANTIC and (self.prefix is None or not _PREFIX.match(self.prefix)):
            raise InvalidConfig(
                f"versions.prefix {self.prefix!r} is not usable; semantic versions need one of 1 to 80 letters, digits, "
                "'_', '-' or '.', such as 'segmentation' for 'segmentation-v1.2.3'"
            )

    def parse(self, name: str) -> Version:
        """Return the version of a name.

        :raises InvalidVersionName: if the name does not follow this scheme.
        """
        number = self._timestamp_number(name) if self.scheme is Scheme.TIMESTAMP else self._semantic_number(name)
        return Version(name=name, number=number)

    def from_number(self, number: int | str) -> Version:
        """Return the version of a serving number.

        :raises InvalidVersionName: if no name of this scheme has that number.
        """
        text = str(number)
        if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text):
            raise InvalidVersionName(
                f"serving number {number!r} is not a whole number of 1 to 19 digits without sign or leading zeros; give one "
                f"such as {self._example.number}"
            )
        name = self._timestamp_name(text) if self.scheme is Scheme.TIMESTAMP else self._semantic_name(int(text))
        return Version(name=name, number=int(text))

    def from_time(self, moment: datetime) -> Version:
        """Return the timestamp version of a moment, cut to its second.

        :raises InvalidVersionName: for semantic schemes, which no clock can number, and for naive times.
        """
        if self.scheme is not Scheme.TIMESTAMP:
            raise InvalidVersionName(
                f"versions of scheme 'semantic' (prefix {self.prefix!r}) cannot be named by the clock; give a name such "
                f"as '{self.prefix}-v1.0.0'"
            )
        if moment.tzinfo is None:
            raise InvalidVersionName(
                f"time {moment!r} has no time zone; version names are in UTC, so give one with a zone"
            )
        return self.parse(f"v-{moment.astimezone(UTC):%Y%m%d-%H%M%S}")

    def next_second(self, version: Version) -> Version:
        """Return the timestamp version one second after another: where a second push within one second goes.

        :raises InvalidVersionName: for semantic schemes, and after the calendar's last second.
        """
        if self.scheme is not Scheme.TIMESTAMP:
            raise InvalidVersionName(
                f"version {version.name!r} of scheme 'semantic' has no next second; give another name, such as the next patch"
            )
        moment = datetime.strptime(str(version.number), _TIME_FORMAT).replace(tzinfo=UTC)
        try:
            return self.from_time(moment + timedelta(seconds=1))
        except OverflowError:
            raise InvalidVersionName(f"after {version.name!r} the calendar ends; give an earlier time") from None

    @property
    def _example(self) -> Version:
        """A version of this scheme, for messages that say what to write."""
        return self.parse("v-20230601-120000" if self.scheme is Scheme.TIMESTAMP else f"{self.prefix}-v1.2.3")

    def _timestamp_number(self, name: str) -> int:
        found = _TIMESTAMP_NAME.match(name)
        if not found:
            raise InvalidVersionName(
                f"version {name!r} is not of the form v-YYYYMMDD-HHMMSS (UTC), such as v-20230601-120000"
            )
        digits = found[1] + found[2]
        _check_moment(digits, shown=name)
        return int(digits)

    def _timestamp_name(self, digits: str) -> str:
        _check_moment(digits, shown=digits)
        return f"v-{digits[:8]}-{digits[8:]}"

    def _semantic_number(self, name: str) -> int:
        found = _SEMANTIC_NAME.match(name)
        if not found or found["prefix"] != self.prefix:
            raise InvalidVersionName(
                f"version {name!r} is not of the form {self.prefix}-v<major>.<minor>.<patch>, such as {self._example}"
            )
        parts = found["major"], found["minor"], found["patch"]
        if any(len(part) > 1 and part.startswith("0") for part in parts):
            raise InvalidVersionName(
                f"version {name!r} has a part with leading zeros; write {self.prefix}-v{'.'.join(str(int(p)) for p in parts)}"
            )
        major, minor, patch = (int(part) for part in parts)
        if major > _MAX_MAJOR or max(minor, patch) > _MAX_MINOR:
            raise InvalidVersionName(
                f"version {name!r} is out of range: major goes to {_MAX_MAJOR}, minor and patch to {_MAX_MINOR}"
            )
        return major * _MAJOR_UNIT + minor * _MINOR_UNIT + patch

    def _semantic_name(self, number: int) -> str:
        major, rest = divmod(number, _MAJOR_UNIT)
        minor, patch = divmod(rest, _MINOR_UNIT)
        if major > _MAX_MAJOR:
            raise InvalidVersionName(
                f"serving number {number} is beyond {self.prefix}-v{_MAX_MAJOR}.9999.9999, the last one; give a lower one"
            )
        return f"{self.prefix}-v{major}.{minor}.{patch}"


def _check_moment(digits: str, *, shown: str) -> None:
    """Refuse 14 digits that are no moment of the calendar, so that every number has a name and every name a number."""
    problem = f"version {shown!r} is not a moment in UTC as YYYYMMDDHHMMSS, such as 20230601120000"
    if len(digits) != 14 or int(digits[:4]) < _OLDEST_YEAR:
        raise InvalidVersionName(problem)
    try:
        datetime.strptime(digits, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidVersionName(f"{problem}: {error}") from None
