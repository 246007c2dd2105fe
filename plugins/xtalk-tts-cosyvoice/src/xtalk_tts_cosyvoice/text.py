"""What of a text can be sent to a voice, in pieces that a service takes."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterator

__all__ = ["has_words", "once", "pieces", "speakable"]

# Control characters mean nothing to a voice, and half of a surrogate pair is no text.
UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

# DashScope takes 20 000 characters at once, and an ideograph is two.
LONGEST = 5000


def speakable(text: str) -> str:
    """The text without what cannot be spoken."""
    return UNSPEAKABLE.sub(" ", text)


def pieces(text: str) -> Iterator[str]:
    """What can be spoken of the text, in pieces of at most 5000 characters."""
    said = speakable(text)
    for start in range(0, len(said), LONGEST):
        yield said[start : start + LONGEST]


async def has_words(texts: AsyncIterable[str]) -> bool:
    """Whether there is anything to say: a letter or a digit. Waits for the first one."""
    async for text in texts:
        if any(character.isalnum() for character in text):
            return True
    return False


async def once(text: str) -> AsyncGenerator[str, None]:
    """A text that is there as one that still comes."""
    yield text
