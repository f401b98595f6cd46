"""Where versions, manifests and logs are kept: a POSIX directory, or object storage."""

from __future__ import annotations
