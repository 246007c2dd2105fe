"""Noise suppression on the way in: owns the enhancer and the `enhance` stage.

An inline enhancer is a plain call on the frame's way. Any other stands in a lane of its own:
frames wait there in order, one task pulls them, and marks wait behind the frames before them. One
that raises, hangs or falls behind is passed by: noise is better than silence.
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
from xtalk.errors import ModelError
from xtalk.events import ErrorOccurred
from xtalk.managers.breaker import Breaker
from xtalk.pipeline import Pipeline
from xtalk.speech.interfaces import SpeechEnhancer
from xtalk.stages import Enhance
from xtalk.threads import Lease, exits_as_errors

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["EnhancerManager"]

log = logging.getLogger("xtalk.enhancer")

LAG_LIMIT_S = 2.0
LANE_LIMIT_S = 30.0  # of audio; who sends so much faster than it was spoken loses what is over


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
        self._breaker: Breaker[SpeechEnhancer] | None = None  # of one that is not inline
        if enhancer is not None and not inline:
            self._breaker = Breaker(session.guard(enhancer), spawn=session.spawn)
        self._now = session.clock.now
        self._stale = False  # what it holds back is of before it hung
        self._lane: deque[tuple[float, AudioFrame | Callable[[], None]]] = deque()
        self._lane_s = 0.0
        self._flushing = False  # for a call that has left the lane
        self._wake: asyncio.Future[None] | None = None
        self._running = False
        self._complained = False

    def push(self, frame: AudioFrame) -> None:
        if self._breaker is None:
            try:
                with exits_as_errors():
                    clean = self._stage.push(frame)
            except Exception:
                self._failed()
                clean = (frame,)
            for heard in clean:
                self._session.hear_clean(heard)
            return
        if self._lane_s > LANE_LIMIT_S:
            return
        self._lane_s += frame.seconds
        self._put(frame)

    def after(self, call: Callable[[], None], *, heard: bool = False) -> None:
        """Run `call` once every frame that came before it has been heard, the held back too.

        When it follows from what was `heard`, it has only other calls to wait for.
        """
        if heard:
            self._put_first(call)
            return
        if self._breaker is not None:
            self._put(call)
            return
        held: Sequence[AudioFrame] = ()
        try:
            with exits_as_errors():
                held = self._stage.flush()
        except Exception:
            self._failed()
        for clean in held:
            self._session.hear_clean(clean)
        call()

    def _put_first(self, call: Callable[[], None]) -> None:
        waiting = [n for n, (_, item) in enumerate(self._lane) if not isinstance(item, AudioFrame)]
        if waiting or self._flushing:
            self._lane.insert(waiting[-1] + 1 if waiting else 0, (self._now(), call))
        else:
            call()

    def _put(self, item: AudioFrame | Callable[[], None]) -> None:
        self._lane.append((self._now(), item))
        if not self._running:
            self._running = True
            self._session.spawn(self._work)
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _work(self) -> None:
        while True:
            while self._lane:
                await self._take(*self._lane.popleft())
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    async def _take(self, arrived: float, item: AudioFrame | Callable[[], None]) -> None:
        if isinstance(item, AudioFrame):
            self._lane_s -= item.seconds
            for heard in await self._enhanced(arrived, item):
                self._session.hear_clean(heard)
            return
        self._flushing = True
        for heard in await self._enhanced(arrived, None):
            self._session.hear_clean(heard)
        self._flushing = False
        item()

    async def _enhanced(self, arrived: float, frame: AudioFrame | None) -> Sequence[AudioFrame]:
        """The frame, clean if that can be; without one, what the enhancer held back."""
        assert self._breaker is not None
        raw = () if frame is None else (frame,)
        if self._breaker.resting:
            return raw
        try:
            if self._now() - arrived > LAG_LIMIT_S:
                self._breaker.trip()
                raise ModelError(f"the enhancer is more than {LAG_LIMIT_S:g} s behind")
            return await self._breaker.call(self._clean, frame)
        except Exception:
            self._stale = self._breaker.resting
            self._failed()
            return raw

    async def _clean(
        self, lease: Lease[SpeechEnhancer], frame: AudioFrame | None
    ) -> Sequence[AudioFrame]:
        if self._stale:
            await lease.run(lease.model.reset)
            self._stale = False
        pcm = await (_flush(lease) if frame is None else _enhance(lease, frame.pcm))
        return self._stage.push(AudioFrame(pcm, 16_000)) if pcm else ()

    def _failed(self) -> None:
        """The client is told once."""
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


async def _enhance(lease: Lease[SpeechEnhancer], pcm: bytes) -> bytes:
    enhancer = lease.model
    if overrides(enhancer, SpeechEnhancer, "async_enhance"):
        return bytes(await enhancer.async_enhance(pcm))
    return bytes(await lease.run(enhancer.enhance, pcm))


async def _flush(lease: Lease[SpeechEnhancer]) -> bytes:
    enhancer = lease.model
    if overrides(enhancer, SpeechEnhancer, "async_flush"):
        return bytes(await enhancer.async_flush())
    return bytes(await lease.run(enhancer.flush))
