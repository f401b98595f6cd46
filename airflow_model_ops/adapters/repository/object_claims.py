"""Which content is being pushed to a version's place: a chain of numbered claims, of which the newest counts.

A claim is for a content, not for a process: pushes of the same content share it and renew it by turns. One that nobody
renewed for :data:`CLAIM_SECONDS`, by the monotonic clock of who waits, may be taken over for other content by the next
number. A claim outlives its push until the version is complete, and is what tells a dead push's files from foreign ones.
Claims make races rare and cheap; what is stored does not depend on them (:mod:`object_versions`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from airflow_model_ops.adapters.repository.file_names import entry_name, entry_sequence
from airflow_model_ops.adapters.repository.lease_chain import Watch
from airflow_model_ops.adapters.repository.object_store import ObjectStore
from airflow_model_ops.adapters.repository.posix_owner import Owner
from airflow_model_ops.core.errors import RepositoryUnavailable, VersionExists
from airflow_model_ops.core.versioning import Version

CLAIM_SECONDS = 60.0
_RENEWALS = 4
"""How often a claim is renewed in the time after which it may be taken over."""
_POLL_SECONDS = (0.1, 1.0)


def content_name(version: Version, digest: str) -> str:
    """Return what names a version and its content at once."""
    return f"{version.name}~{digest[:16]}"


class ClaimEnded(Exception):
    """The claim is another content's now, or the name has been given: read the manifest again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim as it is stored.

    :param content: Names version and content; empty for one who clears the place.
    :param owner: Who renewed it last, for people.
    :param nonce: Another one with each renewal.
    """

    number: int
    version: Version
    content: str
    owner: str
    nonce: str

    def to_bytes(self) -> bytes:
        """Return the bytes to store."""
        data = {"version": self.version.to_json(), "content": self.content, "owner": self.owner, "nonce": self.nonce}
        return json.dumps(data, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, number: int, content: bytes) -> Claim:
        """Read what :meth:`to_bytes` wrote.

        :raises KeyError: or TypeError, ValueError, if it is something else.
        """
        data = json.loads(content)
        return cls(
            number=number,
            version=Version.from_json(data["version"]),
            content=str(data["content"]),
            owner=str(data["owner"]),
            nonce=str(data["nonce"]),
        )


class Claims:
    """The claims on one version's place.

    :param prefix: Ends with ``/``.
    :param is_decided: Tells whether the version's name has been given to a content.
    """

    def __init__(
        self, store: ObjectStore, prefix: str, *, version: Version, seconds: float, is_decided: Callable[[], bool]
    ) -> None:
        self.seconds = seconds
        self.is_decided = is_decided
        self._store = store
        self._prefix = prefix
        self._version = version

    @contextmanager
    def held(self, content: str) -> Iterator[HeldClaim]:
        """Hold the claim for a content, and renew it meanwhile; waits while another content's may be alive.

        :raises ClaimEnded: if the name is given meanwhile.
        :raises VersionExists: if a push of other content is alive.
        """
        claim = HeldClaim(self, self._taken(content))
        with claim.renewed():
            yield claim

    def newest(self) -> Claim | None:
        """Return the claim that counts, or ``None`` if there is none."""
        while numbers := self.numbers():
            content = self._store.get(self.key(numbers[-1]))
            if content is not None:
                return self._read(numbers[-1], content)
        return None

    def take(self, number: int, content: str) -> Claim | None:
        """Take a number; ``None`` if it is taken or no longer the newest."""
        claim = self._new(number, content)
        if not self._store.put_if_absent(self.key(number), claim.to_bytes()):
            return None
        if self.numbers()[-1:] != [number]:
            self._store.delete([self.key(number)])
            return None
        return claim

    def renew(self, claim: Claim) -> Claim:
        """Show that a claim's content is still being pushed; returns it as it is stored now."""
        renewed = self._new(claim.number, claim.content)
        self._store.put(self.key(claim.number), renewed.to_bytes())
        return renewed

    def remove(self, *, up_to: int | None = None) -> None:
        """Remove the claims, the newest last."""
        for number in self.numbers():
            if up_to is None or number <= up_to:
                self._store.delete([self.key(number)])

    def numbers(self) -> list[int]:
        """Return the numbers of all claims, in order."""
        return sorted(number for name in self._store.names(self._prefix) if (number := entry_sequence(name)))

    def key(self, number: int) -> str:
        """Return the key of a claim."""
        return self._prefix + entry_name(number)

    def _taken(self, content: str) -> Claim:
        watch, pause, before = Watch(), _POLL_SECONDS[0], None
        while True:
            if self.is_decided():
                raise ClaimEnded
            newest = self.newest()
            if newest is not None and newest.content == content:
                return self.renew(newest)
            if newest is not None and newest.content:
                self._check_silent(newest, before)
            if taken := self._try(newest, content, watch):
                return taken
            time.sleep(min(pause, self.seconds / 2))
            before, pause = newest, min(2 * pause, _POLL_SECONDS[1])

    def _try(self, newest: Claim | None, content: str, watch: Watch) -> Claim | None:
        if newest is None:
            return self.take(1, content)
        if watch.unchanged_seconds((newest.number, newest.nonce)) > self.seconds:
            return self.take(newest.number + 1, content)
        return None

    def _check_silent(self, newest: Claim, before: Claim | None) -> None:
        """Check that another content's claim was not renewed since it was seen before: else its push is alive.

        :raises VersionExists: if it was.
        """
        if (
            before is not None
            and (newest.number, newest.content) == (before.number, before.content)
            and newest != before
        ):
            raise VersionExists(
                f"version {self._version.name!r} is just being pushed with other content by {newest.owner}; choose a new name, "
                "or push again if that one fails"
            )

    def _read(self, number: int, content: bytes) -> Claim:
        try:
            return Claim.from_bytes(number, content)
        except (KeyError, TypeError, ValueError):  # somebody edited it: it can only run out
            return replace(self._new(number, ""), nonce=hashlib.sha256(content).hexdigest())

    def _new(self, number: int, content: str) -> Claim:
        return Claim(
            number=number,
            version=self._version,
            content=content,
            owner=str(Owner.this_process()),
            nonce=secrets.token_hex(8),
        )


class HeldClaim:
    """A push's time with its claim."""

    def __init__(self, claims: Claims, claim: Claim) -> None:
        self._claims = claims
        self._claim = claim
        self._renewed = time.monotonic()
        self._ended = threading.Event()
        self._is_lost = False
        self._pid = os.getpid()

    def check_quickly(self) -> None:
        """Check what the last renewal found, without a request.

        :raises ClaimEnded: if the claim was lost.
        """
        if self._is_lost:
            raise ClaimEnded

    def check(self) -> None:
        """Check that nobody may have taken the claim over, nor the name; renews it if that is overdue.

        :raises ClaimEnded: if somebody has.
        """
        if time.monotonic() - self._renewed > 2 * self._claims.seconds / _RENEWALS:
            self._renew()
        self._look()
        self.check_quickly()

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Keep the claim fresh from a thread meanwhile."""
        thread = threading.Thread(target=self._go_on, name=f"renew claim {self._claims.key(0)}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            if self._pid == os.getpid():
                thread.join()

    def _go_on(self) -> None:
        while not self._is_lost and not self._ended.wait(self._claims.seconds / _RENEWALS):
            with contextlib.suppress(RepositoryUnavailable):  # `check` sees that it was not renewed
                self._look()
                if not self._is_lost:
                    self._renew()

    def _renew(self) -> None:
        before = time.monotonic()
        self._claim = self._claims.renew(self._claim)
        self._renewed = before

    def _look(self) -> None:
        newest = self._claims.newest()
        if newest is None or newest.content != self._claim.content or self._claims.is_decided():
            self._is_lost = True
        elif newest.number != self._claim.number:
            self._claim = newest
