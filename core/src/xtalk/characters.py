"""Whole characters: who cuts text by its UTF-16 units cuts an emoji in half.

A Python string can hold such a half (a surrogate), but no encoding knows it, so the next thing
that writes the string fails.
"""

from __future__ import annotations

import re

__all__ = ["Halves", "whole"]

HALF = re.compile("[\ud800-\udfff]")
FIRST_HALF = re.compile("[\ud800-\udbff]$")


def whole(text: str) -> str:
    """The text with two halves of a character joined, and U+FFFD for one that is alone."""
    if not HALF.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Halves:
    """One text in pieces: a first half at the end of a piece waits for the next one."""

    def __init__(self) -> None:
        self._waiting = ""

    def push(self, piece: str) -> str:
        """What is whole by now. A half that nothing follows is never told."""
        text = self._waiting + piece
        cut = FIRST_HALF.search(text)
        self._waiting = cut[0] if cut else ""
        return whole(text[: cut.start()] if cut else text)
