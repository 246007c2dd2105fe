"""Noise suppression on the way in: owns the enhancer and the `enhance` stage.

An inline enhancer is a plain call on the frame's way. Any other stands in a lane of its own:
frames wait there in order, one task pulls them, and marks wait behind the frames before them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xtalk.audio import AudioFrame
from xtalk.bus import EventBus, Manager
from xtalk.calls import overrides
from xtalk.events import ErrorOccurred
from xtalk.pipeline import Pipeline
from xtalk.speech.interfaces import SpeechEnhancer
from xtalk.stages import Enhance

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["EnhancerManager"]

log = logging.getLogger("xtalk.enhancer")

LANE_LIMIT_S = 30.0


class _Inline:
    """The enhancer, or nothing at all, in the stage's push shape."""

    def __init__(self, enhancer: SpeechEnhancer | None) -> None:
        self._enhancer = enhancer

    def push(self, frame: AudioFrame) -> Sequence[AudioFrame]:
        if self._enhancer is None:
            return (frame,)
        pcm = self._enhancer.enhance(frame.pcm)
        return (AudioFrame(pcm, frame.rate),) if pcm else ()

    def flush(self) -> Sequence[AudioFrame]:
        if self._enhancer is None:
            return ()
        pcm = self._enhancer.flush()
        return (AudioFrame(pcm, 16_000),) if pcm else ()


class EnhancerManager(Manager):
    """`push` hears a raw frame, `after` runs a call behind the frames that came before it."""

    def __init__(self, event_bus: EventBus, pipeline: Pipeline, session: Session) -> None:
        self.event_bus = event_bus
        self._session = session
        enhancer = pipeline.get_enhancer_model()
        inline = enhancer is None or getattr(enhancer, "inline", False)
        self._stage: Enhance = session.wrapped("enhance", _Inline(enhancer if inline else None))
        self._guard = None if inline or enhancer is None else session.guard(enhancer)
        self._lane: deque[AudioFrame | Callable[[], None]] = deque()
        self._lane_s = 0.0
        self._wake: asyncio.Future[None] | None = None
        self._running = False
        self._complained = False

    def push(self, frame: AudioFrame) -> None:
        if self._guard is None:
            try:
                clean = self._stage.push(frame)
            except Exception:
                self._failed()
                clean = (frame,)
            for heard in clean:
                self._session.hear_clean(heard)
            return
        if self._lane_s > LANE_LIMIT_S:
            return  # the segment has failed long before: recognition hears nothing
        self._lane_s += frame.seconds
        self._put(frame)

    def after(self, call: Callable[[], None]) -> None:
        """Run `call` once every frame that came before it has been heard, the held back too."""
        if self._guard is not None:
            self._put(call)
            return
        try:
            for heard in self._stage.flush():
                self._session.hear_clean(heard)
        except Exception:
            self._failed()
        call()

    def _put(self, item: AudioFrame | Callable[[], None]) -> None:
        self._lane.append(item)
        if not self._running:
            self._running = True
            self._session.spawn(self._work)
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _work(self) -> None:
        assert self._guard is not None
        while True:
            while self._lane:
                item = self._lane.popleft()
                if isinstance(item, AudioFrame):
                    self._lane_s -= item.seconds
                    try:
                        await self._clean(item)
                    except Exception:
                        self._failed()
                        self._session.hear_clean(item)
                else:
                    try:
                        await self._flush()
                    except Exception:
                        self._failed()
                    item()
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    async def _clean(self, frame: AudioFrame) -> None:
        assert self._guard is not None
        async with self._guard.lease() as lease:
            enhancer = lease.model
            if overrides(enhancer, SpeechEnhancer, "async_enhance"):
                pcm = await enhancer.async_enhance(frame.pcm)
            else:
                pcm = await lease.run(enhancer.enhance, frame.pcm)
        self._hear(pcm, frame.rate)

    async def _flush(self) -> None:
        assert self._guard is not None
        async with self._guard.lease() as lease:
            enhancer = lease.model
            if overrides(enhancer, SpeechEnhancer, "async_flush"):
                pcm = await enhancer.async_flush()
            else:
                pcm = await lease.run(enhancer.flush)
        self._hear(pcm, 16_000)

    def _hear(self, pcm: bytes, rate: int) -> None:
        if pcm:
            for clean in self._stage.push(AudioFrame(pcm, rate)):
                self._session.hear_clean(clean)

    def _failed(self) -> None:
        """An enhancer that raises is passed by; the client is told once."""
        if self._complained:
            return
        self._complained = True
        log.exception("session %s: noise suppression failed", self._session.id)
        self.event_bus.post(
            ErrorOccurred(
                error_type="enhancer_failed",
                error_message="Noise suppression failed.",
                component="enhancer",
            )
        )

    async def shutdown(self) -> None:
        self._lane.clear()
