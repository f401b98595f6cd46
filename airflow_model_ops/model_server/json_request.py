"""REST's JSON to tensors, row format and column format.

Source: TF Serving, ``util/json_tensor.cc``; its messages are kept word for word, for clients show them to people.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_model_ops.model_server.json_text import debug_text, dtype_text, type_name
from airflow_model_ops.model_server.servable import NUMPY_TYPES, Tensor
from airflow_model_ops.model_server.status import Code, StatusError

_DECODER = json.JSONDecoder()
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Expecting ',' delimiter": "Missing a comma or } after an object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
}
_INTEGER_RANGES = {
    "DT_INT8": (-(2**31), 2**31 - 1),
    "DT_INT16": (-(2**31), 2**31 - 1),
    "DT_INT32": (-(2**31), 2**31 - 1),
    "DT_UINT8": (-(2**31), 2**31 - 1),
    "DT_INT64": (-(2**63), 2**63 - 1),
    "DT_UINT32": (0, 2**32 - 1),
    "DT_UINT64": (0, 2**64 - 1),
}
_FLOATS = frozenset({"DT_FLOAT", "DT_DOUBLE"})
_NUMBERS = frozenset({int, float})


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictBody:
    """A predict request's body.

    :param row: Whether it came in row format ("instances"), so that the answer has to go back in it.
    """

    signature_name: str
    inputs: Mapping[str, Tensor]
    row: bool


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)


def decode(body: bytes, *, inputs_of: Callable[[str], Mapping[str, str]]) -> PredictBody:
    """Read the body of a predict request.

    :param inputs_of: Gives the inputs (alias to data type) of a signature; gets "" when the body names none.
    :raises StatusError: INVALID_ARGUMENT.
    """
    document = _parse(body)
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise _invalid(
            f"JSON Value: {debug_text(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    types = inputs_of(signature_name)
    if not types:
        raise _invalid(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    row = _is_row(document)
    inputs = _from_instances(document["instances"], types=types) if row else _from_inputs(document["inputs"], types)
    return PredictBody(signature_name=signature_name, inputs=inputs, row=row)


def _parse(body: bytes) -> dict[str, Any]:
    text = body.decode("utf-8", errors="surrogateescape").lstrip()
    if not text:
        raise _invalid("JSON Parse error: The document is empty")
    try:
        document, _ = _DECODER.raw_decode(text)  # what follows the first value is ignored, as TF Serving does
    except json.JSONDecodeError as error:
        raise _invalid(f"JSON Parse error: {_PARSE_ERRORS.get(error.msg, error.msg)} at offset: {error.pos}") from error
    except RecursionError as error:
        raise _invalid("JSON Parse error: Nested too deep.") from error
    if not isinstance(document, dict):
        raise _invalid(f"JSON Value: {debug_text(document)} Is not object")
    return document


def _is_row(document: dict[str, Any]) -> bool:
    if "instances" not in document:
        if "inputs" not in document:
            raise _invalid("Missing 'inputs' or 'instances' key")
        return False
    fault = None
    if "inputs" in document:
        fault = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
    elif not isinstance(document["instances"], list):
        fault = "Expecting 'instances' to be an list/array"
    elif not document["instances"]:
        fault = "No values in 'instances' array"
    if fault:
        raise _invalid(f"JSON Value: {debug_text(document)} {fault}")
    return True


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _from_inputs(value: Any, types: Mapping[str, str]) -> dict[str, Tensor]:
    if not _is_named(value):
        if len(types) > 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        value = {next(iter(types)): value}
    missing = next((name for name in types if name not in value), None)
    if missing is not None:
        raise _invalid(f"Missing named input: {missing} in 'inputs' object.")
    return {name: _tensor(value[name], dtype) for name, dtype in types.items()}


def _from_instances(instances: list[Any], *, types: Mapping[str, str]) -> dict[str, Tensor]:
    if not isinstance(instances[0], dict) and len(types) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    named = _is_named(instances[0])
    columns: dict[str, list[Tensor]] = {name: [] for name in types}
    for position, instance in enumerate(instances):
        if _is_named(instance) is not named:
            expected = "object but got list" if named else "value/list but got object"
            raise _invalid(f"Expecting {expected} at item {position} of input list")
        if named:
            _add_named(instance, position=position, columns=columns, types=types)
        else:
            _add_plain(instance, position=position, columns=columns, types=types)
    return {name: np.stack(rows) for name, rows in columns.items()}


def _add_plain(instance: Any, *, position: int, columns: dict[str, list[Tensor]], types: Mapping[str, str]) -> None:
    name, dtype = next(iter(types.items()))
    try:
        columns[name].append(_same_shape(_tensor(instance, dtype), columns[name]))
    except StatusError as error:
        raise _invalid(f"Failed to process element: {position} of 'instances' list. Error: {error.text}") from error


def _add_named(
    instance: dict[str, Any], *, position: int, columns: dict[str, list[Tensor]], types: Mapping[str, str]
) -> None:
    for name, value in instance.items():
        try:
            if name not in types:
                raise _invalid(f"JSON object: does not have named input: {name}")
            columns[name].append(_same_shape(_tensor(value, types[name]), columns[name]))
        except StatusError as error:
            raise _invalid(
                f"Failed to process element: {position} key: {name} of 'instances' list. Error: {error.text}"
            ) from error
    if len(instance) != len(types):
        raise _invalid(
            f"Failed to process element: {position} of 'instances' list. JSON object: {debug_text(instance)}"
            f" keys must be equal to: {','.join(sorted(types))}"
        )


def _same_shape(tensor: Tensor, before: Sequence[Tensor]) -> Tensor:
    if before and tensor.size != before[0].size:
        raise _invalid(f"Expecting tensor size: {before[0].size} but got: {tensor.size}")
    if before and tensor.shape != before[0].shape:
        expected, got = (",".join(map(str, shape)) for shape in (before[0].shape, tensor.shape))
        raise _invalid(f"Expecting shape [{expected}] but got: [{got}]")
    return tensor


def _tensor(value: Any, dtype: str) -> Tensor:
    """Turn nested lists into one tensor; the first element at each level says how long the lists there must be."""
    shape: list[int] = []
    probe = value
    while isinstance(probe, list):
        shape.append(len(probe))
        probe = probe[0] if probe else None
    flat: list[Any] = []
    _flatten(value, level=0, shape=shape, dtype=dtype, flat=flat)
    numpy_type = NUMPY_TYPES.get(dtype)
    if numpy_type is None:
        message = f"Conversion of JSON Value: {debug_text(probe)} to type: {dtype_text(dtype)}"
        raise StatusError(Code.UNIMPLEMENTED, message)
    try:
        # By way of 64 bits: a number too large for 8 or 16 bits wraps around instead of raising.
        wide: type[Any] = np.int64 if numpy_type in {np.int8, np.int16, np.uint8} else numpy_type
        return np.array(flat, dtype=wide).astype(numpy_type, copy=False).reshape(shape)
    except OverflowError as error:
        raise _invalid("JSON Parse error: Number too big to be stored in double.") from error


def _flatten(value: Any, *, level: int, shape: list[int], dtype: str, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise _invalid(
                f"JSON Value: {debug_text(value)} found at incorrect level: {level + 1}"
                f" in the JSON DOM. Expected at level: {len(shape)}"
            )
        flat.append(_scalar(value, dtype))
        return
    if level >= len(shape):
        raise _invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    if level == len(shape) - 1 and dtype in _FLOATS and _NUMBERS.issuperset(map(type, value)):
        flat.extend(value)  # the usual case, without a Python step per number
        return
    for item in value:
        _flatten(item, level=level + 1, shape=shape, dtype=dtype, flat=flat)


def _scalar(value: Any, dtype: str) -> Any:
    if dtype == "DT_STRING" and isinstance(value, str):
        return value.encode("utf-8", errors="surrogateescape")
    if dtype == "DT_STRING" and isinstance(value, dict):
        return _base64(value)
    if dtype == "DT_BOOL" and isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if dtype in _FLOATS:
            return value
        low, high = _INTEGER_RANGES.get(dtype, (1, 0))
        if isinstance(value, int) and low <= value <= high:
            return value
    raise _invalid(
        f"JSON Value: {debug_text(value)} Type: {type_name(value)} is not of expected type: {dtype_text(dtype)}"
    )


def _base64(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        raise _invalid(f"JSON Value: {debug_text(value)} not formatted correctly for base64 data")
    text: str = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("Unable to base64 decode") from error
