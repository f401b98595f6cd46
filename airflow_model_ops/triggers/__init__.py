"""What waits in the triggerer, without a worker slot; every trigger's state can be rebuilt after a restart."""

from __future__ import annotations
