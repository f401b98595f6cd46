"""Asking repositories, fleets, ledgers and metric sources that may hang: threads, turns, time-outs and what is kept open."""

from __future__ import annotations
