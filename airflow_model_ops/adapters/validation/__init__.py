"""Validation of a SavedModel in a process of its own, before it gets traffic."""

from __future__ import annotations
