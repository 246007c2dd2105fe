"""The ledger of one reply: which of its audio the listener has heard, and which words that was.

Positions are samples of the reply's own audio at 48 kHz, silence that was added not counted.
Time is an argument, in seconds. What is claimed errs on the side of too little: a word that was
not played must never enter a history.

    evidence                                   claimed
    acknowledgement that can be true           everything up to the end of its chunk
    pause after it (mark or `pause_tts`)       + what can have played since, within the next chunk
    client that never acknowledges             by the clock, one round trip behind: `estimated`
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xtalk.audio import RATE_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xtalk.speech.interfaces import Sentence, Word

__all__ = ["Heard", "HeardReply", "cut_at_word", "is_ideograph"]

CAUTION = 1.25  # a sentence still being made may turn out longer than guessed
SECONDS_PER_LETTER = 0.075
SECONDS_PER_IDEOGRAPH = 0.25
LATE_ACK_S = 0.1
JITTER = 1.5  # of a round trip, against its mean
SLACK_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class HeardReply:
    """`text` is a prefix of the reply as shown; `estimated` when no acknowledgement backs it."""

    text: str
    samples: int
    estimated: bool


@dataclass(slots=True)
class _Said:
    """A sentence and the part of the reply's audio that says it."""

    sentence: Sentence
    start: int
    samples: int = 0
    complete: bool = False
    words: list[tuple[int, str]] = field(default_factory=list)  # end in samples of the sentence


@dataclass(frozen=True, slots=True)
class _Sent:
    """A chunk as sent: its part of the reply, and when an ideal client plays it."""

    index: int
    start: int
    end: int
    sent_at: float
    plays_until: float
    total: float  # seconds sent up to its end, since the start or restart


class Heard:
    """One reply. Playback reports what it does; `reply` says what was heard of it."""

    def __init__(self, *, rtt: float = 0.1) -> None:
        self.rtt = rtt
        self.over = 0  # highest acknowledged index: for flow, believed as it comes
        self.last = 0  # highest index sent
        self.ruined = False
        self._said: list[_Said] = []
        self._made = 0
        self._sent: dict[int, _Sent] = {}
        self._paused_at: float | None = None
        self._suspended = False
        self._paused_s = 0.0
        self._mark: float | None = None  # the client's clock at its pause, ms
        self._own_pauses = 0  # each began half a round trip before we knew, and ended as much later
        self._position = 0
        self._floor = 0  # heard beyond the acknowledgements, at an earlier pause
        self._anchor: tuple[_Sent, float, float | None] | None = None

    # --- the map: which audio says what -----------------------------------------------------

    def made(self, sentence: Sentence | None, samples: int, words: Iterable[Word] = ()) -> None:
        """The voice has made this many samples more; `words` are timed from their start."""
        said = self._said[-1] if self._said else None
        if said is not None and (sentence is None or said.sentence.index != sentence.index):
            said.complete, said = True, None
        if said is None and sentence is not None:
            said = _Said(sentence, self._made)
            self._said.append(said)
        if said is not None:
            offset = self._made - said.start
            said.words += [(offset + round(word.end * RATE_OUT), word.text) for word in words]
            said.samples += samples
        self._made += samples

    def complete(self) -> None:
        """The voice has made all of the reply."""
        if self._said:
            self._said[-1].complete = True

    # --- what the client is sent and says ---------------------------------------------------

    def sent(self, index: int, start: int, end: int, seconds: float, now: float) -> None:
        """Chunk `index` carries samples start to end of the reply and lasts `seconds`."""
        begins, total = self.clock(now), seconds
        if (before := self._sent.get(self.last)) is not None:
            begins, total = max(begins, before.plays_until), before.total + seconds
        else:
            self.over = index - 1
        self.last = index
        self._sent[index] = _Sent(index, start, end, now, begins + seconds, total)

    def clock(self, now: float) -> float:
        """Time that stands still while the client is suspended."""
        return (now if self._paused_at is None else self._paused_at) - self._paused_s

    def ack(self, index: int, client_timestamp: float | None, now: float) -> bool:
        """Whether it is news. Superseded and unknown indices are not."""
        chunk = self._sent.get(index)
        if chunk is None:
            return False
        if self._credible(chunk, now) and chunk.end >= self._position:
            self._position = chunk.end
            self._anchor = (chunk, now, client_timestamp)
        news = index > self.over
        self.over = max(self.over, index)
        return news

    def give_up(self) -> None:
        """No acknowledgement will come for what was sent; flow goes on, nothing more is heard."""
        self.over = self.last

    def _credible(self, chunk: _Sent, now: float) -> bool:
        """Audio cannot be played faster than time, nor long after the client was suspended."""
        if self.ruined:
            return False
        if self._paused_at is not None and now - self._paused_at > self.rtt + LATE_ACK_S:
            return False
        return chunk.plays_until <= self.clock(now) + self.rtt / 2 + SLACK_S

    def pause(
        self, now: float, client_timestamp: float | None = None, *, certain: bool = True
    ) -> None:
        """The client is suspended, by itself at `client_timestamp` (its clock, ms) or by us.

        Until it is `certain` the client may be playing on, and a later call sets the time anew.
        """
        if not self._suspended:
            self._paused_at = now
        self._suspended = self._suspended or certain
        if self._mark is None:
            self._mark = client_timestamp

    def resume(self, now: float, *, was_suspended: bool = True) -> None:
        """It plays again. Without `was_suspended` it turned out never to have stopped."""
        if self._paused_at is None:
            return
        if was_suspended:
            self._floor = self.position()
            self._paused_s += now - self._paused_at
            self._own_pauses += self._mark is not None
            self._anchor = None
        self._paused_at = self._mark = None
        self._suspended = False

    def restart(self, now: float) -> int:
        """All that was sent is superseded; the position from which to send again."""
        position = self.position()
        self.resume(now)
        self._own_pauses = 0
        self._floor = self._position = position
        self._sent.clear()
        self.over, self.ruined = self.last, False
        return position

    # --- the answers ------------------------------------------------------------------------

    @property
    def acknowledged(self) -> bool:
        """Whether the client has acknowledged any chunk since the start or restart."""
        return self.over in self._sent

    @property
    def unacknowledged_s(self) -> float:
        sent, over = self._sent.get(self.last), self._sent.get(self.over)
        return (sent.total if sent else 0.0) - (over.total if over else 0.0)

    def dry_in(self, now: float) -> float:
        """Seconds until an ideal client has played all that was sent; negative after that."""
        chunk = self._sent.get(self.last)
        return 0.0 if chunk is None else chunk.plays_until - self.clock(now)

    def position(self) -> int:
        """Samples that were certainly heard."""
        return max(self._floor, self._position + self._since_ack())

    def _since_ack(self) -> int:
        """What can have played between the last acknowledgement and the pause."""
        if self._anchor is None or self._paused_at is None or self.ruined:
            return 0
        acked, at, stamp = self._anchor
        following = self._sent.get(acked.index + 1)
        if following is None:
            return 0
        since = self._paused_at - at
        if self._mark is not None and stamp is not None:
            since = (self._mark - stamp - 1) / 1000  # both were cut to whole milliseconds
        arrived = self._paused_at - following.sent_at - JITTER * self.rtt
        seconds = max(0.0, min(since, arrived))
        return min(int(seconds * RATE_OUT), following.end - following.start)

    def by_the_clock(self, now: float) -> int:
        """Samples that an ideal client, one round trip away, has played by now."""
        clock, position = self.clock(now) - self.rtt * (1 + self._own_pauses), 0
        for chunk in self._sent.values():
            late = max(0.0, chunk.plays_until - clock)
            heard = chunk.end - chunk.start - int(late * RATE_OUT)
            position = max(position, chunk.start + heard if heard > 0 else 0)
        return max(self._floor, position)

    def reply(self, now: float, *, acks: bool) -> HeardReply:
        """What was heard by now; `acks` says whether this client acknowledges at all."""
        samples = self.position() if acks else self.by_the_clock(now)
        return HeardReply(text=self._text(samples), samples=samples, estimated=not acks)

    def said(self, samples: int) -> int:
        """Characters of the reply that have been said after this many samples of it."""
        return len(self._text(samples))

    def _text(self, samples: int) -> str:
        text = ""
        for said in self._said:
            part = self._part(said, samples - said.start)
            if not part:
                break
            text = text.ljust(said.sentence.span[0]) + part
            if len(part) < len(said.sentence.text):
                break
        return text

    def _part(self, said: _Said, samples: int) -> str:
        text = said.sentence.text
        if samples <= 0:
            return ""
        if said.complete and samples >= said.samples:
            return text
        if said.words:
            return _timed_part(text, said.words, samples)
        length = said.samples if said.complete else max(said.samples, self._expected(text))
        spoken = text.strip()  # the space around it takes no time
        part = cut_at_word(spoken, int(len(spoken) * samples / length))
        return text[: text.index(spoken)] + part if part else ""

    def _expected(self, text: str) -> int:
        """Samples that a sentence still being made will have, by this reply's pace if known."""
        done = [said for said in self._said if said.complete and said.samples]
        pace = 1.0
        if done:
            guessed = sum(_guessed_s(said.sentence.text) for said in done)
            pace = sum(said.samples for said in done) / RATE_OUT / max(guessed, 0.01)
        return int(_guessed_s(text) * pace * CAUTION * RATE_OUT)


def cut_at_word(text: str, length: int) -> str:
    """At most `length` characters, no Latin word cut in half; ideographs stand alone."""
    if length >= len(text):
        return text
    while length > 0 and _within_word(text[length - 1], text[length]):
        length -= 1
    return text[:length].rstrip()


def is_ideograph(character: str) -> bool:
    """Chinese and Japanese characters and Korean syllables: written without spaces."""
    return "\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7af"


def _within_word(before: str, after: str) -> bool:
    return _is_letter(before) and _is_letter(after)


def _is_letter(character: str) -> bool:
    if is_ideograph(character):
        return False
    return character in "'’-" or unicodedata.category(character)[0] in "LMN"


def _guessed_s(text: str) -> float:
    ideographs = sum(map(is_ideograph, text))
    letters = len(text) - ideographs
    return ideographs * SECONDS_PER_IDEOGRAPH + letters * SECONDS_PER_LETTER


def _timed_part(text: str, words: list[tuple[int, str]], samples: int) -> str:
    end = 0
    for until, word in words:
        if until > samples:
            break
        found = text.find(word, end)
        if found >= 0:
            end = found + len(word)
    return text[:end]
