"""What the page's API takes and answers, as pydantic models: from them come the OpenAPI document and the page's types."""

from __future__ import annotations
