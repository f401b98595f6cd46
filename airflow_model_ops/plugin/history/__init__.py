"""What a model's log tells: timeline, traffic and the evidence of its releases."""

from __future__ import annotations
