"""How TF Serving shows JSON and types inside an error message.

Source: TF Serving, ``util/json_tensor.cc`` (``JsonValueToDebugString``, ``JsonTypeString``).
"""

from __future__ import annotations

import json
from typing import Any

_MAX_CHARS = 256


def debug_text(value: Any) -> str:
    """Show a JSON value: lists on one line, objects indented, cut off after about 256 characters."""
    return _show(value, indent="")[:_MAX_CHARS]


def _show(value: Any, *, indent: str) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_show(item, indent=indent) for item in value[:_MAX_CHARS])}]"
    if isinstance(value, dict) and value:
        inner = indent + "    "
        members = (f"{inner}{json.dumps(name)}: {_show(item, indent=inner)}" for name, item in value.items())
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    return json.dumps(value, ensure_ascii=False)


def type_name(value: Any) -> str:
    """Name the JSON type of a value."""
    match value:
        case None:
            return "Null"
        case bool():
            return str(value)
        case int() | float():
            return "Number"
        case str():
            return "String"
        case list():
            return "Array"
        case _:
            return "Object"


def dtype_text(dtype: str) -> str:
    """Name a data type the short way: ``float`` for ``DT_FLOAT``."""
    return dtype.removeprefix("DT_").lower()
