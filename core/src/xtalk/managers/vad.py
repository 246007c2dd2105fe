"""Server-side voice activity: owns the detector and the `detect` stage.

The detector gives a probability per frame; this turns it into starts, candidates of an end, and
ends. A model that is not inline runs in a thread, on all that has gathered since its last call.
One that hangs costs what it did not hear, and begins anew.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from xtalk.audio import AudioFrame, Framer
from xtalk.bus import EventBus, Manager
from xtalk.calls import overrides
from xtalk.events import (
    ErrorOccurred,
    SpeechCandidate,
    TurnEndpointRequested,
    VADLost,
    VADSpeechEnd,
    VADSpeechStart,
)
from xtalk.managers.breaker import Breaker
from xtalk.pipeline import Pipeline
from xtalk.speech.interfaces import VAD, Speech
from xtalk.stages import Detect
from xtalk.threads import Guard, Lease, exits_as_errors

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["Endpointer", "VADManager"]

log = logging.getLogger("xtalk.vad")

HYSTERESIS = 0.15  # speech goes on until the probability is this far below the threshold
CANDIDATE_MS = 120.0
DEAF_S = 1.0  # of audio that a detector has not heard; what it said before is worth nothing then

on = Manager.event_handler


class Endpointer:
    """Probabilities in, `Speech` events out. Times are counted in audio, not on a clock.

    Speech begins when `min_speech_ms` of frames over the threshold lie in a row, but for gaps
    of two frames; it ends after `silence_ms` below it, which may be changed for each segment.
    """

    def __init__(
        self, *, threshold: float, min_speech_ms: float, silence_ms: float, frame_ms: float
    ) -> None:
        self._threshold = threshold
        self._min_speech_ms = min_speech_ms
        self._default_silence_ms = silence_ms
        self.silence_ms = silence_ms
        self.ended_after_ms = 0.0  # the silence that the last end waited for
        self._frame_ms = frame_ms
        self.fed = 0  # probabilities
        self.speaking = False
        self._voiced_ms = 0.0
        self._quiet_ms = 0.0

    def feed(self, probability: float, at: float) -> Speech | None:
        self.fed += 1
        if probability >= self._threshold:
            self._voiced_ms += self._frame_ms
            self._quiet_ms = 0.0
        elif not self.speaking or probability < self._threshold - HYSTERESIS:
            self._quiet_ms += self._frame_ms
        if not self.speaking:
            if self._quiet_ms > 2 * self._frame_ms:
                self._voiced_ms = 0.0
            if self._voiced_ms < self._min_speech_ms:
                return None
            self.speaking = True
            self._quiet_ms = 0.0
            self.silence_ms = self._default_silence_ms
            return Speech(kind="start", at=at, probability=probability)
        if self._quiet_ms >= self.silence_ms:
            self.speaking = False
            self.ended_after_ms = self._quiet_ms
            self._voiced_ms = self._quiet_ms = 0.0
            return Speech(kind="end", at=at, probability=probability)
        if CANDIDATE_MS <= self._quiet_ms < CANDIDATE_MS + self._frame_ms:
            return Speech(kind="candidate_end", at=at, probability=probability)
        return None


class _Detector:
    """The model and the endpointer in the stage's push shape."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def use(self, vad: VAD, endpointer: Endpointer) -> None:
        self._parts = vad, endpointer, Framer(vad.frame_samples)

    def push(self, frame: AudioFrame) -> Sequence[Speech]:
        vad, endpointer, framer = self._parts  # a call that was given up keeps its own to its end
        found = []
        for piece in framer.push(frame.pcm):
            speech = endpointer.feed(vad.speech_probability(piece), self._now())
            if speech is not None:
                found.append(speech)
        return found

    def flush(self) -> Sequence[Speech]:
        return ()


class _Answered(VAD):
    """What an async detector has answered already, in the shape of a sync one."""

    def __init__(self, vad: VAD) -> None:
        self._vad = vad
        self._framer = Framer(vad.frame_samples)
        self._answers: deque[bool] = deque()
        self.frame_samples = vad.frame_samples

    async def ask(self, frame: AudioFrame) -> None:
        """Of a frame that fails nothing is kept, or later answers would meet earlier audio."""
        framer = copy.copy(self._framer)
        answers = [await self._vad.async_is_speech(piece) for piece in framer.push(frame.pcm)]
        self._framer = framer
        self._answers.extend(answers)

    def is_speech(self, frame: bytes) -> bool:
        return bool(self._answers) and self._answers.popleft()


class VADManager(Manager):
    """Posts what the server's own ear hears; idle without a model, or when only clients mark."""

    def __init__(
        self,
        event_bus: EventBus,
        pipeline: Pipeline,
        config: dict[str, Any],
        session: Session,
    ) -> None:
        self.event_bus = event_bus
        self._session = session
        vad = pipeline.get_vad_model()
        self.active = vad is not None and config["vad_source"] != "client"
        self._lane: deque[AudioFrame] = deque()  # as much as comes while one call lasts
        self._wake: asyncio.Future[None] | None = None
        self._running = False
        self._complained = False
        self._deaf_s = 0.0  # audio in a row that was not heard
        self._lost = False
        self.starting = False  # what is posted now follows from the begin of speech
        if not self.active or vad is None:
            return
        self._make_endpointer = partial(
            Endpointer,
            threshold=config["vad_threshold"],
            min_speech_ms=config["vad_min_speech_ms"],
            silence_ms=config["vad_redemption_ms"],
        )
        self._inline = getattr(vad, "inline", False)
        guard: Guard[VAD] = session.guard(vad)
        self._breaker = Breaker(guard, spawn=session.spawn)
        # The session's clock itself can only be asked on the loop, a detector may be in a thread.
        self._detector = _Detector(asyncio.get_running_loop().time)
        self._begin(vad)
        self._stage: Detect = session.wrapped("detect", self._detector)

    def _begin(self, model: VAD) -> None:
        """Hear with this model from now on, and with nothing of before in mind."""
        self._model = model
        vad, self._async = self._session.watched(model), None
        if not self._inline and overrides(vad, VAD, "async_is_speech"):
            vad = self._async = _Answered(vad)
        self._endpointer = self._make_endpointer(frame_ms=1000 * vad.frame_samples / 16_000)
        self._judged = 0  # frames of its own size
        self._detector.use(vad, self._endpointer)

    def push(self, frame: AudioFrame) -> None:
        if not self.active:
            return
        if self._inline:
            try:
                with exits_as_errors():
                    found = self._stage.push(frame)
            except Exception:
                self._failed(frame)
            else:
                self._heard(frame)
                self._tell(found)
            return
        if self._breaker.resting:
            return
        self._lane.append(frame)
        if not self._running:
            self._running = True
            self._session.spawn(self._work)
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    @on(TurnEndpointRequested, 90)
    def _endpoint(self, event: TurnEndpointRequested) -> None:
        if self.active:
            self._endpointer.silence_ms = event.silence_ms

    async def _work(self) -> None:
        while True:
            while self._lane:
                frames = list(self._lane)
                self._lane.clear()
                await self._hear(AudioFrame(b"".join(f.pcm for f in frames), frames[0].rate))
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    async def _hear(self, frame: AudioFrame) -> None:
        try:
            found = await self._breaker.call(self._listen, frame)
        except Exception:
            self._failed(frame)
        else:
            self._heard(frame)
            self._tell(found)

    async def _listen(self, lease: Lease[VAD], frame: AudioFrame) -> Sequence[Speech]:
        if lease.model is not self._model:
            self._begin(lease.model)
        if self._async is None:
            return await lease.run(self._stage.push, frame)
        await self._async.ask(frame)
        return self._stage.push(frame)

    def _failed(self, frame: AudioFrame) -> None:
        """A detector that raises or hangs costs these frames; the client is told once."""
        if self._breaker.resting:
            self._lane.clear()
            self._deaf_s = DEAF_S
        else:
            self._deaf_s += frame.seconds
        if self._deaf_s >= DEAF_S and not self._lost:
            self._lost = True
            self._begin(self._model)
            self.event_bus.post(VADLost())
        if self._complained:
            return
        self._complained = True
        log.exception("session %s: speech detection failed", self._session.id)
        self.event_bus.post(
            ErrorOccurred(
                error_type="vad_failed", error_message="Speech detection failed.", component="vad"
            )
        )

    def _heard(self, frame: AudioFrame) -> None:
        """No call failed, which proves nothing where it was less than a frame of the detector's."""
        if self._endpointer.fed > self._judged:
            self._judged = self._endpointer.fed
            self._deaf_s, self._lost = 0.0, False
        elif self._deaf_s:
            self._deaf_s += frame.seconds

    def _tell(self, found: Sequence[Speech]) -> None:
        for speech in found:
            if speech.kind == "start":
                self.starting = True
                self.event_bus.post(
                    VADSpeechStart(
                        source="server",
                        confidence=speech.probability,
                        speech_probability=speech.probability,
                    )
                )
                self.starting = False
            elif speech.kind == "end":
                self.event_bus.post(
                    VADSpeechEnd(
                        source="server",
                        speech_probability=speech.probability,
                        silence_ms=self._endpointer.ended_after_ms,
                    )
                )
            else:
                self.event_bus.post(
                    SpeechCandidate(silence_ms=CANDIDATE_MS, speech_probability=speech.probability)
                )

    async def shutdown(self) -> None:
        self._lane.clear()
