"""From the times of characters, which the service gives, to the times of words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xtalk.heard import is_ideograph
from xtalk.speech.interfaces import Word

__all__ = ["WordTimes"]

# Names that the service has used for the same lists.
CHARACTERS = ("chars", "characters")
STARTS = ("charStartTimesMs", "charsStartTimesMs", "char_start_times_ms")
DURATIONS = ("charDurationsMs", "charsDurationsMs", "char_durations_ms", "chars_durations_ms")


class WordTimes:
    """The words of one text while its sound comes in chunks. A word may go over two of them.

    Then it belongs to the chunk in which it ends, and its start there is negative. Ideographs
    are words of their own.
    """

    def __init__(self, text: str) -> None:
        self._awaited = sum(not character.isspace() for character in text)
        self._word = ""
        self._start = 0.0
        self._end = 0.0

    def push(self, alignment: Mapping[str, Any] | None, seconds: float) -> tuple[Word, ...]:
        """The words that end in a chunk of this length; times in seconds from its start."""
        words = tuple(self._words(alignment or {}))
        self._start -= seconds
        self._end -= seconds
        return words

    def _words(self, alignment: Mapping[str, Any]) -> Iterator[Word]:
        for character, start, end in _characters(alignment):
            alone = is_ideograph(character)
            if character.isspace() or alone:
                yield from self._ended()
            if character.isspace():
                continue
            if not self._word:
                self._start = start
            self._word += character
            self._end = end
            self._awaited -= 1
            if self._awaited == 0:
                yield from self._ended()

    def _ended(self) -> Iterator[Word]:
        if self._word:
            yield Word(text=self._word, start=self._start, end=self._end)
        self._word = ""


def _characters(alignment: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Each character and when it sounds; nothing where the lists do not fit."""
    characters, starts, durations = (
        _first(alignment, names) for names in (CHARACTERS, STARTS, DURATIONS)
    )
    if len(characters) == len(starts) == len(durations):
        for character, start, duration in zip(characters, starts, durations, strict=True):
            yield character, start / 1000, (start + duration) / 1000


def _first(alignment: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    return next((alignment[name] for name in names if alignment.get(name)), [])
