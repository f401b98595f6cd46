"""Text as ML Metadata can keep it.

On PostgreSQL a backslash in any string breaks ML Metadata's SQL and leaves the rest of the text outside the quotes; protobuf
takes no lone surrogates and PostgreSQL no NUL. So these are written differently, and can be read back:

* a backslash becomes two REVERSE SOLIDUS OPERATORs (U+29F5), which look like one;
* U+29F5 itself, a lone surrogate and a control character other than tab and line feed become U+29F5 and their code
  point in hex, in braces.

>>> unescape(escape(r"C:\\new")) == r"C:\\new"
True
"""

from __future__ import annotations

import hashlib
import re
from itertools import accumulate

from airflow_model_ops.adapters.lineage.schema import LONGEST_NAME

_MARK = "\u29f5"
_UNSTORABLE = re.compile("[\\\\\u29f5\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_ESCAPED = re.compile(f"{_MARK}(?:{_MARK}|\\{{([0-9a-f]{{1,6}})\\}})")
_CUT_MARK = " … (cut)"
_DIGEST_CHARACTERS = 32

LONGEST_STRING = 2000
"""Where a string property is cut, in bytes: a row of an index on PostgreSQL takes 2,704. The entry in the execution's STRUCT is
never cut."""

LONGEST_URI = 600
"""Where a uri is cut, in bytes; it is in an index, too."""


def escape(text: str) -> str:
    """Return a text in a form that every backend keeps as it is."""
    return _UNSTORABLE.sub(_escaped, text)


def unescape(text: str) -> str:
    """Return the text that :func:`escape` was given."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\\", text)


def stored_string(text: str) -> str:
    """Return a string property: escaped, and cut at :data:`LONGEST_STRING` with a mark that says so."""
    stored = escape(text)
    if len(stored.encode()) <= LONGEST_STRING:
        return stored
    return _beginning(text, LONGEST_STRING - len(_CUT_MARK.encode())) + _CUT_MARK


def stored_name(text: str) -> str:
    """Return a name: escaped; one that is too long ends in a digest, so that two long names stay two."""
    return _bounded(text, longest=LONGEST_NAME)


def stored_uri(text: str) -> str:
    """Return a uri to store or to look up: escaped; one that is too long for an index ends in a digest."""
    return _bounded(text, longest=LONGEST_URI)


def _bounded(text: str, *, longest: int) -> str:
    escaped = escape(text)
    if len(escaped.encode()) <= longest:
        return escaped
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{_beginning(text, longest - len(digest) - 1)}~{digest}"


def _beginning(text: str, size: int) -> str:
    """Return the beginning of a text, escaped, in at most so many bytes; no character and no escape is parted."""
    pieces = [escape(character) for character in text[:size]]
    ends = accumulate(len(piece.encode()) for piece in pieces)
    return "".join(piece for piece, end in zip(pieces, ends, strict=True) if end <= size)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return _MARK * 2 if character == "\\" else f"{_MARK}{{{ord(character):x}}}"
