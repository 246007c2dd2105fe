"""How it sounds, in words: captions of the last seconds, whenever there is new speech in them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from xtalk import events
from xtalk.bus import EventBus, Manager
from xtalk.managers.background import Background
from xtalk.pipeline import Pipeline

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["CaptionerManager"]

BYTES_A_SECOND = 2 * 16_000
RING = 15 * BYTES_A_SECOND
LEAST = round(2.5 * BYTES_A_SECOND)
EVERY_S = 1.5
RETRY_S = 30.0

on = Manager.event_handler


class CaptionerManager(Manager):
    """Captions what the microphone heard, for the context of the turns to come.

    Idle without a captioner, and while nobody speaks. It takes raw audio: noise is part of how
    something sounds.
    """

    def __init__(self, event_bus: EventBus, pipeline: Pipeline, session: Session) -> None:
        self.event_bus = event_bus
        self._session = session
        self._captioner = pipeline.get_captioner_model()
        self._rewriter = pipeline.get_caption_rewriter_model()
        self._background = Background(session, self._caption, every_s=EVERY_S, retry_s=RETRY_S)
        self._ring: deque[bytes] = deque()
        self._length = 0
        self._speaking = self._new = False

    @property
    def active(self) -> bool:
        return self._captioner is not None

    @on(events.TurnASRStartRequested, 50, enabled_if=lambda self: self.active)
    def _begin(self, event: events.TurnASRStartRequested) -> None:
        self._speaking = True

    @on(events.TurnASREndRequested, 50, enabled_if=lambda self: self.active)
    @on(events.TurnASRResetRequested, 50, enabled_if=lambda self: self.active)
    def _end(self, event: events.BaseEvent) -> None:
        self._speaking = False

    @on(events.AudioFrameReceived, 50, enabled_if=lambda self: self.active)
    def _hear(self, event: events.AudioFrameReceived) -> None:
        self._ring.append(event.audio_data)
        self._length += len(event.audio_data)
        while self._length > RING:
            self._length -= len(self._ring.popleft())
        self._new = self._new or self._speaking
        if self._new and self._length >= LEAST:
            self._new = False
            self._background.ask()

    async def _caption(self) -> None:
        assert self._captioner is not None
        self._new = False  # what came since it was asked for is in the ring too
        text = await self._captioner.async_caption(b"".join(self._ring))
        if self._rewriter is not None:
            text = await self._rewriter.async_rewrite(text)
        self._session.note("caption", text)
        self.event_bus.post(events.CaptionUpdated(text=text))

    async def shutdown(self) -> None:
        self._ring.clear()
