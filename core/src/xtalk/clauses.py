"""Cut what somebody is still saying into clauses that can be answered at once.

Pure: fed with the transcripts of one segment, each the whole text so far, whose end may change.

    "the cat sat on the mat, and"   ->  "the cat sat on the mat,"     and the rest waits

A word is stable when two transcripts in a row agree on it. A clause ends at a mark behind a
stable word that something follows; where there is no mark, after so many words or so long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from xtalk.dialogue import WORD
from xtalk.sentences import ABBREVIATIONS, TITLES

__all__ = ["Clause", "Clauses", "joined"]

MARK = re.compile(r"[，。．！？；：、…\n]|[,.;:!?][\"'”’)\]]*\s")
SHORT = 3.0  # what has fewer words than this goes with the next clause
LONG = {False: 12.0, True: 25.0}  # words, without and with marks among them
LATE_S = {False: 3.0, True: 6.0}


@dataclass(frozen=True)
class Clause:
    """`reason` says what ended it: "mark", "length", "time" or "end"."""

    text: str
    reason: str


class Clauses:
    """One segment of speech."""

    def __init__(self) -> None:
        self.marked = False  # do these texts come with punctuation?
        self._restored = False
        self._text = ""
        self._spans: list[tuple[int, int]] = []
        self._words: list[str] = []
        self._stable = 0
        self._given = 0  # words that were given out in clauses
        self._shown: list[str] = []
        self._since: float | None = None  # when the first word that waits was heard

    def hear(self, text: str, now: float) -> None:
        """The recogniser's text of the segment so far."""
        before = self._words
        self._set(text)
        self.marked = self.marked or self._has_marks()
        self._stable = _common(before, self._words)
        if self._since is None and len(self._words) > self._given:
            self._since = now

    def _set(self, text: str) -> None:
        self._text = text
        found = list(WORD.finditer(text))
        self._spans = [match.span() for match in found]
        self._words = [match.group().lower() for match in found]

    def _has_marks(self) -> bool:
        return any(self._mark_behind(end) for end in range(1, len(self._words) + 1))

    @property
    def heard(self) -> bool:
        """Whether there are words at all."""
        return bool(self._words)

    def delta(self) -> str:
        """The words that were not shown yet, with what stands in front of them.

        The deltas behind one clause make up the next one, unless the recogniser changed its mind.
        """
        first = max(_common(self._shown, self._words), self._given)
        if first >= len(self._words):
            return ""
        self._shown = list(self._words)
        start = self._spans[first][0] if first == self._given else self._spans[first - 1][1]
        return self._text[start : self._spans[-1][1]]

    def rest(self) -> str:
        """What waits, stable or not."""
        if self._given >= len(self._words):
            return ""
        return self._text[self._spans[self._given][0] :].strip()

    def restore(self, bare: str, restored: str) -> None:
        """Take over the punctuation that was put into `rest()`, unless that has changed since.

        But for the mark at its end, which stands wherever one asks.
        """
        found = list(WORD.finditer(restored))
        words = [match.group().lower() for match in found]
        end = self._given + len(words)
        if (
            not words
            or words != WORD.findall(bare.lower())
            or words != self._words[self._given : end]
        ):
            return
        head = self._text[: self._spans[self._given][0]]
        tail = self._text[self._spans[end - 1][1] :]
        self._set(head + restored[found[0].start() : found[-1].end()] + tail)
        self._restored = True

    def take(self, now: float) -> list[Clause]:
        """The clauses that are ready."""
        ready = []
        while (clause := self._next(now)) is not None:
            ready.append(clause)
        return ready

    def finish(self) -> Clause | None:
        """The segment is over: whatever waits."""
        rest = self.rest()
        self._given = len(self._words)
        return Clause(rest, "end") if rest else None

    def _next(self, now: float) -> Clause | None:
        last = min(self._stable, len(self._words) - 1)
        for end in range(self._given + 1, last + 1):
            if self._mark_behind(end) and self._width(end) >= SHORT:
                return self._cut(end, "mark", now)
        last = min(self._stable, len(self._words))
        width, marks = self._width(last), self.marked or self._restored
        if width >= LONG[marks]:
            return self._cut(last, "length", now)
        late = self._since is not None and now - self._since >= LATE_S[marks]
        return self._cut(last, "time", now) if late and width >= SHORT else None

    def _cut(self, end: int, reason: str, now: float) -> Clause:
        start = self._spans[self._given][0]
        until = self._spans[end][0] if end < len(self._spans) else len(self._text)
        text = self._text[start:until].strip()
        self._given = end
        self._shown = self._shown[:end]
        self._since = now if end < len(self._words) else None
        return Clause(text, reason)

    def _width(self, end: int) -> float:
        """In words; two ideographs count as one."""
        words = self._words[self._given : end]
        return sum(0.5 if len(word) == 1 and word >= "\u3040" else 1.0 for word in words)

    def _mark_behind(self, end: int) -> bool:
        """Whether a clause may end behind the word number `end`."""
        start = self._spans[end - 1][1]
        until = self._spans[end][0] if end < len(self._spans) else len(self._text)
        gap = self._text[start:until]
        if not MARK.search(gap + " " * (end == len(self._spans))):
            return False
        return not (gap.startswith(".") and self._words[end - 1] in TITLES | ABBREVIATIONS)


def joined(before: str, after: str) -> str:
    """Two pieces of what somebody said; ideographs are joined without a space."""
    wide = before[-1:] >= "\u3000" and after[:1] >= "\u3000"
    return before + ("" if wide or not before or not after else " ") + after


def _common(one: list[str], other: list[str]) -> int:
    """How many words both begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
