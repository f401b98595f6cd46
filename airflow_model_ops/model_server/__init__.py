"""model_server."""

from __future__ import annotations
