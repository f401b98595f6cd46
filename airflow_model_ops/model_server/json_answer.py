"""Tensors to REST's JSON, row format and column format.

Source: TF Serving, ``util/json_tensor.cc``.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from airflow_model_ops.model_server.servable import Tensor
from airflow_model_ops.model_server.status import Code, StatusError


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)


def encode(outputs: Mapping[str, Tensor], *, row: bool) -> bytes:
    """Write the answer to a predict request.

    :param row: Answer in row format ("predictions") instead of column format ("outputs").
    :raises StatusError: INVALID_ARGUMENT when row format cannot carry the outputs.
    """
    if not outputs:
        raise _invalid("Cannot convert empty tensor map to JSON")
    text = f'{{"predictions": {_rows(outputs)}}}' if row else f'{{"outputs": {_columns(outputs)}}}'
    return text.encode("utf-8", errors="surrogateescape")


def _columns(outputs: Mapping[str, Tensor]) -> str:
    rendered = {name: _nest(_texts(name, tensor), tensor.shape)[0] for name, tensor in outputs.items()}
    if len(rendered) == 1:
        return next(iter(rendered.values()))
    return _object(rendered)


def _rows(outputs: Mapping[str, Tensor]) -> str:
    batch: int | None = None
    for name, tensor in outputs.items():
        if tensor.ndim == 0:
            raise _invalid(f"Tensor name: {name} has no shape information ")
        if batch is not None and tensor.shape[0] != batch:
            raise _invalid(f"Tensor name: {name} has inconsistent batch size: {tensor.shape[0]} expecting: {batch}")
        batch = tensor.shape[0]
    rendered = {
        name: _nest(_texts(name, tensor), tensor.shape[1:], count=tensor.shape[0]) for name, tensor in outputs.items()
    }
    if len(rendered) == 1:
        return f"[{', '.join(next(iter(rendered.values())))}]"
    rows = (_object(dict(zip(rendered, values, strict=True))) for values in zip(*rendered.values(), strict=True))
    return f"[{', '.join(rows)}]"


def _object(members: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{json.dumps(name)}: {text}' for name, text in members.items())}}}"


def _nest(texts: list[str], shape: Sequence[int], *, count: int = 1) -> list[str]:
    """Wrap rendered values into brackets, from the innermost axis out; ``count`` values remain."""
    for axis in range(len(shape) - 1, -1, -1):
        size, outer = shape[axis], count * math.prod(shape[:axis])
        texts = [f"[{', '.join(texts[i * size : (i + 1) * size])}]" for i in range(outer)]
    return texts


def _texts(name: str, tensor: Tensor) -> list[str]:
    flat = tensor.ravel()
    if tensor.dtype in {np.dtype(np.float32), np.dtype(np.float64)}:
        return _decimals(flat)
    values = flat.tolist()
    if tensor.dtype.kind in "iu":
        return [str(value) for value in values]
    if tensor.dtype.kind == "b":
        return ["true" if value else "false" for value in values]
    if tensor.dtype.kind in "OSU":
        as_bytes = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
        if name.endswith("_bytes"):
            return [f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in as_bytes]
        return [json.dumps(v.decode("utf-8", errors="surrogateescape"), ensure_ascii=False) for v in as_bytes]
    raise _invalid(f"Failed to write JSON value for tensor type: {tensor.dtype}")


def _decimals(flat: Tensor) -> list[str]:
    """Write six digits where they read back as the same number, else all digits; whole numbers get a ``.0``."""
    digits = 9 if flat.dtype == np.float32 else 17
    values = flat.tolist()
    short = [f"{value:g}" for value in values]
    exact = np.array([float(text) for text in short], dtype=np.float64).astype(flat.dtype) == flat
    return [
        _decimal(text if same else f"{value:.{digits}g}")
        for value, text, same in zip(values, short, exact.tolist(), strict=True)
    ]


def _decimal(text: str) -> str:
    if "." in text or "e" in text:
        return text
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text + ".0")
