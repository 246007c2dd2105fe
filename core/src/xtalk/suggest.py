"""Which of the known names may be meant by one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["closest"]


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that is nearest, whatever is capital in it; "" when none is near."""
    folded = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), folded, 1)
    return folded[near[0]] if near else ""
