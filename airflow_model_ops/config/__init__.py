"""The YAML file of one model and the settings of one fleet, turned into core's dataclasses."""

from __future__ import annotations
