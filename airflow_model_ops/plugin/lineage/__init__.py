"""The lineage of a version as a graph."""

from __future__ import annotations
