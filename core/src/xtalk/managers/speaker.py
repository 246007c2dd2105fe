"""Who speaks: each utterance gets a voice's name before the agent answers it, or goes without."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xtalk import events
from xtalk.bus import EventBus, Manager
from xtalk.managers.background import Background
from xtalk.pipeline import Pipeline

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from xtalk.session import Session

__all__ = ["SpeakerManager"]

BYTES_A_SECOND = 2 * 16_000
LONGEST = 16 * BYTES_A_SECOND  # more does not tell more
PROFILES = 32  # of one session; the voice that was silent longest is forgotten

on = Manager.event_handler


@dataclass(eq=False)
class _Utterance:
    """What was said up to one answer, and who said it as soon as that is known."""

    audio: bytearray = field(default_factory=bytearray)
    segment: int = 0  # where its latest segment begins
    pause: int | None = None  # where the pause began that may end it
    known: asyncio.Future[None] | None = None  # while the encoder works
    embedding: npt.NDArray[np.float32] | None = None
    reason: str = "no_audio"
    accepted: bool = False


@dataclass(eq=False)
class _Profile:
    name: str
    embedding: npt.NDArray[np.float32]


class SpeakerManager(Manager):
    """Compares each accepted utterance with the voices that it has heard in this session.

    The encoder works while the recogniser decodes. A turn waits for it `speaker_deadline_ms` at
    most; then it has no speaker, and the name comes into the context when it is known. What is
    rejected leaves no profile.
    """

    def __init__(
        self, event_bus: EventBus, pipeline: Pipeline, config: dict[str, Any], session: Session
    ) -> None:
        self.event_bus = event_bus
        self._session = session
        self._encoder = pipeline.get_speaker_encoder()
        self._background = Background(session, self._embed)
        self._threshold = config["similarity_threshold"]
        self._least = round(config["min_audio_length_sec"] * BYTES_A_SECOND)
        self._alpha = config["embedding_update_alpha"]
        self._before_start = round(config["vad_min_speech_ms"] / 1000 * BYTES_A_SECOND)
        self._recent: deque[bytes] = deque()
        self._recent_length = 0
        self._listening = False
        self._source = ""
        self._utterance = _Utterance()
        self._asked: _Utterance | None = None
        self._turn: _Utterance | None = None
        self._profiles: list[_Profile] = []
        self._count = 0
        if self.active:
            session.before_turn.append(self._speaker_of_turn)

    @property
    def active(self) -> bool:
        return self._encoder is not None

    # --- what is heard --------------------------------------------------------------------------

    @on(events.VADSpeechStart, 100, enabled_if=lambda self: self.active)
    @on(events.VADSpeechEnd, 100, enabled_if=lambda self: self.active)
    def _mark(self, event: events.VADSpeechStart | events.VADSpeechEnd) -> None:
        self._source = event.source

    @on(events.TurnASRStartRequested, 50, enabled_if=lambda self: self.active)
    def _started(self, event: events.TurnASRStartRequested) -> None:
        source, resume = self._source, event.resume
        self._session.after_audio(lambda: self._begin(source, resume))

    def _begin(self, source: str, resume: bool) -> None:
        utterance = self._utterance
        if not resume:
            utterance.segment = len(utterance.audio)
            if source == "server":  # it was sure only after so much speech
                self._take(b"".join(self._recent)[-self._before_start :])
        utterance.pause = None
        self._listening = True

    @on(events.EnhancedAudioFrameReceived, 50, enabled_if=lambda self: self.active)
    def _hear(self, event: events.EnhancedAudioFrameReceived) -> None:
        if self._listening:
            self._take(event.audio_data)
        self._recent.append(event.audio_data)
        self._recent_length += len(event.audio_data)
        while self._recent and self._recent_length - len(self._recent[0]) >= self._before_start:
            self._recent_length -= len(self._recent.popleft())

    def _take(self, audio: bytes) -> None:
        self._utterance.audio += audio[: LONGEST - len(self._utterance.audio)]

    @on(events.SpeechCandidate, 100, enabled_if=lambda self: self.active)
    def _pause(self, event: events.SpeechCandidate) -> None:
        silence = round(event.silence_ms / 1000 * BYTES_A_SECOND)
        utterance = self._utterance
        utterance.pause = max(utterance.segment, len(utterance.audio) - silence)

    @on(events.TurnASREndRequested, 50, enabled_if=lambda self: self.active)
    def _ended(self, event: events.TurnASREndRequested) -> None:
        source = self._source
        self._session.after_audio(lambda: self._end(source))

    def _end(self, source: str) -> None:
        utterance = self._utterance
        self._listening = False
        if source == "server" and utterance.pause is not None:
            del utterance.audio[utterance.pause & ~1 :]  # it ends speech after a pause
        self._identify(utterance)

    # --- what becomes of it ---------------------------------------------------------------------

    @on(events.TurnASRResetRequested, 50, enabled_if=lambda self: self.active)
    @on(events.VerificationResult, 50, enabled_if=lambda self: self.active)
    def _rejected(self, event: events.TurnASRResetRequested | events.VerificationResult) -> None:
        """Forget the segment, but not the half sentence that may have come before it."""
        if isinstance(event, events.VerificationResult) and event.is_valid:
            return
        kept = self._utterance.audio[: self._utterance.segment]
        self._utterance = _Utterance(kept, segment=len(kept))
        self._listening = False
        if kept:
            self._identify(self._utterance)

    @on(events.ASRResultFinal, 50, enabled_if=lambda self: self.active)
    def _accepted(self, event: events.ASRResultFinal) -> None:
        self._turn = utterance = self._utterance
        self._utterance = _Utterance()
        self._listening = False
        utterance.accepted = True
        if utterance.known is None:
            self._tell(utterance)

    def _speaker_of_turn(self) -> asyncio.Future[None] | None:
        """What the turn that begins waits for: the encoder, where it is still at work."""
        utterance, self._turn = self._turn, None
        if utterance is None or utterance.known is None:
            return None
        self._session.note("speaker_id", None)  # better nobody than the last one's name
        return utterance.known

    # --- who it was -----------------------------------------------------------------------------

    def _identify(self, utterance: _Utterance) -> None:
        if len(utterance.audio) < max(self._least, 2):
            utterance.reason = "too_short" if utterance.audio else "no_audio"
            return
        if utterance.known is None:
            utterance.known = asyncio.get_running_loop().create_future()
        self._asked = utterance
        self._background.ask()

    async def _embed(self) -> None:
        utterance, self._asked = self._asked, None
        if utterance is None or self._encoder is None:
            return
        try:
            utterance.embedding = await self._encoder.async_extract(bytes(utterance.audio))
        except Exception:
            utterance.reason = "error"
            raise
        finally:
            if self._asked is not utterance:  # nothing was added meanwhile
                self._settle(utterance)

    def _settle(self, utterance: _Utterance) -> None:
        known, utterance.known = utterance.known, None
        if utterance.accepted:
            self._tell(utterance)
        if known is not None and not known.done():
            known.set_result(None)

    def _tell(self, utterance: _Utterance) -> None:
        name = None
        if utterance.embedding is not None:
            utterance.reason = "recognized"
            name = self._name(utterance.embedding)
        self._session.note("speaker_id", name)
        self.event_bus.post(events.SpeakerRecognized(speaker_id=name, reason=utterance.reason))

    def _name(self, embedding: npt.NDArray[np.float32]) -> str:
        """The nearest profile's, which moves a little towards this voice, or a new one's."""
        assert self._encoder is not None
        compare = self._encoder.similarity
        scores = [float(compare(profile.embedding, embedding)) for profile in self._profiles]
        best = max(range(len(scores)), key=scores.__getitem__, default=-1)
        if best >= 0 and scores[best] >= self._threshold:
            profile = self._profiles.pop(best)
            moved = (1 - self._alpha) * profile.embedding + self._alpha * _unit(embedding)
            profile.embedding = _unit(moved)
        else:
            self._count += 1
            profile = _Profile(f"Speaker {self._count}", _unit(embedding))
        self._profiles = [*self._profiles, profile][-PROFILES:]
        return profile.name

    async def shutdown(self) -> None:
        self._utterance = _Utterance()


def _unit(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import numpy as np

    norm = float(np.linalg.norm(vector))
    return vector / norm if norm else vector
