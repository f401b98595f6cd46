"""What the server needs from a loaded version, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[Any]

DEFAULT_SIGNATURE = "serving_default"

#: Data types that REST can carry, by their name in ``tensorflow.DataType``; strings travel as ``object`` arrays of bytes.
NUMPY_TYPES: Mapping[str, type[Any]] = {
    "DT_FLOAT": np.float32,
    "DT_DOUBLE": np.float64,
    "DT_INT8": np.int8,
    "DT_INT16": np.int16,
    "DT_INT32": np.int32,
    "DT_INT64": np.int64,
    "DT_UINT8": np.uint8,
    "DT_UINT32": np.uint32,
    "DT_UINT64": np.uint64,
    "DT_BOOL": np.bool_,
    "DT_STRING": np.object_,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One way to call a version.

    :param inputs: Alias of each input to the name of its data type, such as ``DT_FLOAT``.
    :param outputs: Alias of each output to the name of its data type.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


class Servable(Protocol):
    """A loaded version. All methods may be called from many threads at once; ``close`` only after the last of them."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""

    @property
    def signature_defs(self) -> Any:
        """``tensorflow.serving.SignatureDefMap`` with the SavedModel's own signature definitions."""

    def predict(
        self, inputs: Mapping[str, Tensor], *, signature_name: str, output_filter: Sequence[str] = ()
    ) -> dict[str, Tensor]:
        """Run one signature.

        :param output_filter: Aliases of the wanted outputs; empty: all.
        :raises StatusError: for a wrong input, and for whatever the graph itself reports.
        """

    def close(self) -> None:
        """Free the version's memory."""
