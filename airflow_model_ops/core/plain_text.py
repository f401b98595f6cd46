"""Words of people as pages, terminals, messages and databases can show and keep them."""

from __future__ import annotations

import re

_SPACE = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]+")
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, what turns the direction of the text around it, and halves of characters."""


def plain_text(text: str) -> str:
    """Return a text on one line, with U+FFFD for each character that is none: it may come from anybody.

    A terminal obeys control characters, a change of direction makes a sentence read as another one, and neither an answer in
    UTF-8 nor PostgreSQL takes half a character or NUL.

    >>> plain_text("too slow\\nfor us")
    'too slow for us'
    """
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", _SPACE.sub(" ", text))
