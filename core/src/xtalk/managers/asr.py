"""Recognition: owns the recogniser, the `transcribe` stage and the listening lane."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from xtalk import events
from xtalk.audio import AudioFrame
from xtalk.bus import EventBus, Manager
from xtalk.calls import recognize
from xtalk.errors import ModelError
from xtalk.listening import Listening
from xtalk.pipeline import Pipeline
from xtalk.speech.interfaces import Transcript
from xtalk.threads import Guard

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["ASRManager"]

log = logging.getLogger("xtalk.asr")

on = Manager.event_handler


class ASRManager(Manager):
    """Obeys `TurnASR*Requested`; what it understands goes to turn taking as TranscriptReady."""

    def __init__(
        self,
        event_bus: EventBus,
        pipeline: Pipeline,
        config: dict[str, Any],
        session: Session,
    ) -> None:
        self.event_bus = event_bus
        self._session = session
        asr = pipeline.get_asr_model()
        self._name = type(asr).__name__
        self._guard = None if asr is None else session.guard(asr)
        pre_roll_ms = config["pre_roll_ms"]
        if pre_roll_ms is None:
            pre_roll_ms = config["vad_min_speech_ms"] + 300
        self._patience_s = config["decode_timeout_sec"]
        self._listening = Listening(
            session.wrapped("transcribe", self._transcribe),
            self._report,
            spawn=session.spawn,
            now=session.clock.now,
            pre_roll_s=pre_roll_ms / 1000,
            backlog_s=config["asr_backlog_sec"],
            patience_s=self._patience_s,
        )
        self._resets = 0
        self._complained = False

    def push(self, frame: AudioFrame) -> None:
        self._listening.push(frame)

    @on(events.TurnASRStartRequested, 90)
    def _begin(self, event: events.TurnASRStartRequested) -> None:
        turn_id = event.turn_id
        self._after_audio(lambda: self._listening.begin(turn_id))

    @on(events.TurnASREndRequested, 90)
    def _end(self, event: events.TurnASREndRequested) -> None:
        self._after_audio(self._listening.end)

    @on(events.TurnASRFlushRequested, 88)
    def _flush(self, event: events.TurnASRFlushRequested) -> None:
        self._after_audio(self._listening.end)

    @on(events.TurnASRResetRequested, 85)
    def _reset(self, event: events.TurnASRResetRequested) -> None:
        self._resets += 1
        if event.late:
            self._tell_late()
        self._listening.abort()

    def _after_audio(self, call: Callable[[], None]) -> None:
        """Run a call behind the audio that has arrived, unless a reset overtakes it.

        A reset does not wait for an enhancer: a start behind it would never be ended.
        """
        resets = self._resets
        self._session.after_audio(lambda: call() if resets == self._resets else None)

    def _tell_late(self) -> None:
        log.warning("%s gave no final text within %g s", self._name, self._patience_s)
        self._complain("asr_late", "Speech recognition took too long.")

    async def _transcribe(
        self, frames: AsyncIterator[AudioFrame]
    ) -> AsyncGenerator[Transcript, None]:
        guard: Guard[Any] | None = self._guard
        if guard is None:
            raise ModelError("This server has no speech recognition.")
        async with guard.lease() as lease, aclosing(recognize(lease, frames)) as transcripts:
            async for transcript in transcripts:
                yield transcript

    def _report(
        self, turn_id: int, transcript: Transcript | None, error: Exception | None, lag_s: float
    ) -> None:
        if error is not None:
            self._complain("asr_failed", _plain(error))
        self.event_bus.post(
            events.TranscriptReady(
                turn_id=turn_id,
                transcript=transcript,
                error="" if error is None else type(error).__name__,
                lag_ms=1000 * lag_s,
            )
        )
        if self._listening.lagging and not self._complained:
            self._complained = True
            self._complain("asr_slow", "Speech recognition is slower than speech here.")

    def _complain(self, error_type: str, message: str) -> None:
        self.event_bus.post(
            events.ErrorOccurred(error_type=error_type, error_message=message, component="asr")
        )

    async def shutdown(self) -> None:
        self._listening.abort()


def _plain(error: Exception) -> str:
    """Only our own errors are written to be read by a client."""
    return str(error) if isinstance(error, ModelError) else "Speech recognition failed."
