"""Tokens for a service account, as https://oauth2.googleapis.com/token gives them for an assertion that its key has signed.

Source of the protocol: RFC 7523, and developers.google.com/identity/protocols/oauth2/service-account.
"""

from __future__ import annotations

import secrets
import threading
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import exceptions, jwt

from tests.vertex_fake.refusal import Refused

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EMAIL = "robot@acme.iam.gserviceaccount.com"


class ServiceAccount:
    """One account with one key."""

    def __init__(self) -> None:
        self.seconds = 3600
        self._lock = threading.Lock()
        self._issued: set[str] = set()

    def key(self, *, token_uri: str) -> dict[str, str]:
        """Return the content of the account's key file."""
        private = self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "acme",
            "private_key_id": "1",
            "private_key": private.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": token_uri,
        }

    def exchange(self, form: bytes) -> dict[str, Any]:
        """Return a token for a signed assertion.

        :raises Refused: if it is not signed by the account's key, or is over.
        """
        fields = {name: values[0] for name, values in parse_qs(form.decode()).items()}
        if fields.get("grant_type") != GRANT or not self._signed(fields.get("assertion", "")):
            raise Refused("INVALID_ARGUMENT", "invalid_grant: Invalid JWT Signature.")
        token = f"ya29.{secrets.token_urlsafe(24)}"
        with self._lock:
            self._issued.add(token)
        return {"access_token": token, "expires_in": self.seconds, "token_type": "Bearer"}

    def accepts(self, token: str) -> bool:
        """Return whether a token was given by `exchange`, or is signed by the account's key itself, as gRPC's clients do."""
        with self._lock:
            issued = token in self._issued
        return issued or self._signed(token)

    def revoke(self) -> None:
        """Accept no token that was given so far."""
        with self._lock:
            self._issued.clear()

    def _signed(self, token: str) -> bool:
        try:
            claims: dict[str, Any] = jwt.decode(token, certs=self._public)
        except (ValueError, exceptions.GoogleAuthError):
            return False
        return claims.get("iss") == EMAIL

    @cached_property
    def _private(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def _public(self) -> bytes:
        return self._private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
