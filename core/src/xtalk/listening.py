"""The listening lane: the audio of each segment of speech, in order, on its way to the recogniser.

Frames and marks arrive by plain calls in one order. While nobody speaks the last moments are
kept as pre-roll; a begin mark turns them into the head of a segment. The recogniser pulls, and
a pull brings all that has gathered: a slow one gets larger batches and loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import anyio

from xtalk.audio import AudioFrame
from xtalk.errors import ModelError
from xtalk.speech.interfaces import Transcript
from xtalk.stages import Transcribe

__all__ = ["Listening", "Segment"]

log = logging.getLogger("xtalk.listening")

LAG_S = 2.0
LAGGING_SEGMENTS = 3


class Segment:
    """The audio between a begin and an end mark."""

    def __init__(self, turn_id: int, pre_roll: list[AudioFrame]) -> None:
        self.turn_id = turn_id
        self.heard = False  # the recogniser took some of it
        self.ended = False
        self.ended_at = 0.0
        self.waiting_s = sum(frame.seconds for frame in pre_roll)
        self.scope = anyio.CancelScope()
        self.limit = anyio.CancelScope()  # of the recogniser, once others wait behind it
        self.done = anyio.Event()
        self._frames = list(pre_roll)
        self._wake: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    def push(self, frame: AudioFrame) -> None:
        self._frames.append(frame)
        self.waiting_s += frame.seconds
        self._awake()

    def end(self, now: float) -> None:
        self.ended = True
        self.ended_at = now
        self._awake()

    def fail(self, error: Exception) -> None:
        self._error = error
        self.take()
        self._awake()

    def take(self) -> list[AudioFrame]:
        """All audio since the last time."""
        frames, self._frames, self.waiting_s = self._frames, [], 0.0
        return frames

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def frames(self) -> AsyncIterator[AudioFrame]:
        """All audio since the last pull, as one frame, until the end mark."""
        while True:
            if self._error is not None:
                raise self._error
            if self._frames:
                frames, self.heard = self.take(), True
                if len(frames) == 1:
                    yield frames[0]
                else:
                    yield AudioFrame(b"".join(f.pcm for f in frames), frames[0].rate)
            elif self.ended:
                return
            else:
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake


class Listening:
    """The segments of one session.

    `report(turn_id, transcript, error, lag_s)` is called with every transcript, and once with an
    error when a segment cannot be decoded. Audio is never dropped from the middle: a recogniser
    that falls `backlog_s` behind loses the segment. One that has not given the final transcript of
    a segment for `patience_s`, while another segment waits, loses that one and goes on with the
    next; how long the last may take is for others to say. A final transcript before the end mark
    ends the segment; what the recogniser did not take of its audio is the pre-roll of the next.
    """

    def __init__(
        self,
        transcribe: Transcribe,
        report: Callable[[int, Transcript | None, Exception | None, float], None],
        *,
        spawn: Callable[..., Any],
        now: Callable[[], float],
        pre_roll_s: float,
        backlog_s: float = 30.0,
        patience_s: float = 5.0,
    ) -> None:
        self._transcribe = transcribe
        self._report = report
        self._spawn = spawn
        self._now = now
        self._pre_roll_s = pre_roll_s
        self._backlog_s = backlog_s
        self._patience_s = patience_s
        self._ring: deque[AudioFrame] = deque()
        self._ring_s = 0.0
        self._open: Segment | None = None
        self._live: list[Segment] = []
        self._free_at = now()  # when the recogniser was done with the segment before
        self._lagging = 0

    def push(self, frame: AudioFrame) -> None:
        self._ring.append(frame)
        self._ring_s += frame.seconds
        while self._ring and self._ring_s - self._ring[0].seconds >= self._pre_roll_s:
            self._ring_s -= self._ring.popleft().seconds
        segment = self._open
        if segment is None:
            return
        segment.push(frame)
        if sum(each.waiting_s for each in self._live) > self._backlog_s:
            self._open = None
            segment.fail(ModelError("Speech recognition fell too far behind."))
            segment.end(self._now())

    def begin(self, turn_id: int) -> None:
        """A segment starts, with the pre-roll at its head; an open one goes on instead."""
        if self._open is not None:
            return
        previous = self._live[-1] if self._live else None
        segment = self._open = Segment(turn_id, list(self._ring))
        self._live.append(segment)
        self._hurry()
        self._spawn(self._decode, segment, previous)

    def _hurry(self) -> None:
        """A recogniser that hangs must not hold up what is said again."""
        first = self._live[0] if len(self._live) > 1 else None
        if first is not None and first.ended:
            first.limit.deadline = max(first.ended_at, self._free_at) + self._patience_s

    def end(self) -> None:
        """The open segment is over; its final transcript follows."""
        if self._open is not None:
            self._open.end(self._now())
            self._close()

    def _close(self, unheard: Iterable[AudioFrame] = ()) -> None:
        """What was heard belongs to the segment that ends here, and to no other."""
        self._open = None
        self._ring = deque(unheard)
        self._ring_s = sum(frame.seconds for frame in self._ring)

    def abort(self) -> None:
        """Forget every segment, open or under decoding; no transcript of them follows.

        The last of its audio may be the beginning of the next one.
        """
        self._open = None
        for segment in self._live:
            segment.scope.cancel()

    async def _decode(self, segment: Segment, previous: Segment | None) -> None:
        try:
            with segment.scope:
                if previous is not None:
                    await previous.done.wait()
                with segment.limit:
                    await self._follow(segment)
                if segment.limit.cancelled_caught:
                    raise ModelError("Speech recognition did not answer in time.")
        except Exception as error:
            log.exception("segment %d could not be decoded", segment.turn_id)
            if self._open is segment:
                self._open = None
            self._report(segment.turn_id, None, error, 0.0)
        finally:
            self._live.remove(segment)
            self._free_at = self._now()
            self._hurry()
            segment.done.set()

    async def _follow(self, segment: Segment) -> None:
        last = Transcript(text="")
        async with aclosing(self._transcribe(segment.frames())) as transcripts:  # type: ignore[type-var]
            async for transcript in transcripts:
                last = transcript
                if transcript.final:
                    break
                self._report(segment.turn_id, transcript, None, 0.0)
        if not last.final:
            raise ModelError("the recogniser ended a segment without a final transcript")
        self._finish(segment, last)

    def _finish(self, segment: Segment, transcript: Transcript) -> None:
        if not segment.ended:  # the recogniser decided by itself that this was all
            if not segment.heard:
                raise ModelError("the recogniser gave a final transcript before it took any audio")
            segment.end(self._now())
            if self._open is segment:
                self._close(segment.take())
        lag_s = self._now() - segment.ended_at
        self._lagging = self._lagging + 1 if lag_s > LAG_S else 0
        if self._lagging == LAGGING_SEGMENTS:
            log.warning("recognition is slower than speech here: %.1f s behind", lag_s)
        self._report(segment.turn_id, transcript, None, lag_s)

    @property
    def lagging(self) -> bool:
        """Whether several segments in a row came late."""
        return self._lagging >= LAGGING_SEGMENTS
