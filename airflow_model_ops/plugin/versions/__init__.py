"""The versions of a model: their table, their names, and several side by side."""

from __future__ import annotations
