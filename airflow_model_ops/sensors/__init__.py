"""Sensors: a version that starts to serve, a metric that comes within its limits."""

from __future__ import annotations
