"""New etags: never the same twice, and nothing can be read from them."""

from __future__ import annotations

import secrets


def new_etag() -> str:
    return f"AMEw9y{secrets.token_urlsafe(24)}"
