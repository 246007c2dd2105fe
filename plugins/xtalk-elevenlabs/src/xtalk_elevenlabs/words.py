"""From the times of characters, which the service gives, to the times of words."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import AliasChoices, BaseModel, Field

from xtalk.heard import is_ideograph
from xtalk.speech.interfaces import Word

__all__ = ["WordTimes"]


class Alignment(BaseModel):
    """The characters of a chunk, and their times in ms, by the names that the service has used."""

    characters: list[str] = Field(validation_alias=AliasChoices("chars", "characters"))
    starts: list[float] = Field(
        validation_alias=AliasChoices(
            "charStartTimesMs", "charsStartTimesMs", "char_start_times_ms"
        )
    )
    durations: list[float] = Field(
        validation_alias=AliasChoices(
            "charDurationsMs", "charsDurationsMs", "char_durations_ms", "chars_durations_ms"
        )
    )


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

    def push(self, alignment: object, seconds: float) -> tuple[Word, ...]:
        """The words that end in a chunk of this length; times in seconds from its start.

        None where the alignment is missing or not as expected: the sound is good without them.
        """
        words = tuple(self._words(alignment))
        self._start -= seconds
        self._end -= seconds
        return words

    def _words(self, alignment: object) -> Iterator[Word]:
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


def _characters(found: object) -> Iterator[tuple[str, float, float]]:
    """Each character and when it sounds; nothing where the lists do not fit."""
    try:
        alignment = Alignment.model_validate(found)
        lists = (alignment.characters, alignment.starts, alignment.durations)
        times = list(zip(*lists, strict=True))
    except ValueError:  # pydantic's, or that of lists which are not of one length
        return
    for character, start, duration in times:
        yield character, start / 1000, (start + duration) / 1000
