"""A caller whose course is a coroutine: its microphone and its loudspeaker run by themselves.

It plays what it is sent, acknowledges what it has played, and pauses when it is told to.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from time import monotonic

import scenario
from loadgen import (
    LOUD,
    OPEN_LIMIT_S,
    SILENT,
    SPEECH_END,
    SPEECH_START,
    START,
    TICK_S,
    WebSocket,
    message,
)

PATIENCE_S = 10.0


class Guest(WebSocket):
    """One connection. `when` tells the moment of the next message of a name."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._voice = SILENT
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._chunk = 0
        self._playing: deque[tuple[float, int]] = deque()  # when it is played, its index
        self._until = 0.0  # when all of them are
        self._paused_at: float | None = None
        self._finished = False

    async def begin(self) -> None:
        await asyncio.wait_for(self.opened, OPEN_LIMIT_S)
        self.transport.write(START)
        self._tick(monotonic())

    def when(self, action: str) -> asyncio.Future[float]:
        """The moment of the next such message; "audio" and "acknowledged" are names as well."""
        self._waiting[action] = self.loop.create_future()
        return self._waiting[action]

    async def meets(self, moment: asyncio.Future[float]) -> float:
        return await asyncio.wait_for(moment, PATIENCE_S)

    def speak(self, voice: bytes = LOUD) -> float:
        """Begin to speak, or to cough in silence; the moment of the mark."""
        self._voice = voice
        now = monotonic()
        self.transport.write(SPEECH_START)
        return now

    def fall_silent(self) -> float:
        """The moment of the mark."""
        now = monotonic()
        self.transport.write(self._voice + SPEECH_END)
        self._voice = SILENT
        return now

    def connection_lost(self, error: Exception | None) -> None:
        for future in self._waiting.values():
            future.cancel()
        super().connection_lost(error)

    # --- what the server says -------------------------------------------------------------------

    def text(self, now: float, body: bytes) -> None:
        said = json.loads(body)
        action = said["action"]
        if action == "tts_chunk_meta":
            self._chunk = said["data"]["chunk_index"]
        elif action == "start_tts":
            self._finished = False
        elif action == "tts_finished":
            self._finished = True
        elif action == "pause_tts" and self._paused_at is None:
            self._paused_at = now
        elif action == "resume_tts" and self._paused_at is not None:
            pause = now - self._paused_at
            self._playing = deque((at + pause, index) for at, index in self._playing)
            self._until, self._paused_at = self._until + pause, None
        elif action == "stop_tts":
            self._playing.clear()
            self._until, self._paused_at = now, None
        self._happened(action, now)

    def audio(self, now: float, size: int) -> None:
        self._until = max(self._until, now) + size / 2 / scenario.RATE_OUT
        self._playing.append((self._until, self._chunk))
        self._happened("audio", now)

    def _happened(self, action: str, now: float) -> None:
        future = self._waiting.pop(action, None)
        if future is not None and not future.done():
            future.set_result(now)

    # --- what runs by itself --------------------------------------------------------------------

    def _tick(self, due: float) -> None:
        if self.closed:
            return
        self.transport.write(self._voice)
        now = monotonic()
        while self._paused_at is None and self._playing and self._playing[0][0] <= now:
            _, index = self._playing.popleft()
            self.transport.write(message("tts_chunk_played", chunk_index=index))
            self._happened("acknowledged", now)
            if self._finished and not self._playing:
                self._finished = False
                self.transport.write(message("tts_playback_finished", timestamp=0))
                self._happened("played", now)
        self.loop.call_at(self.loop.time() + due + TICK_S - monotonic(), self._tick, due + TICK_S)
