"""How long each stage of a turn took: told with its first audio, and when that was heard."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from xtalk import events
from xtalk.audio import RATE_OUT
from xtalk.bus import EventBus, Manager

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["LatencyManager"]

OFFSET_SAMPLES = 5

on = Manager.event_handler


@dataclass
class _Turn:
    """The stamps of one answered utterance (s, the loop's clock); None until it happens."""

    id: int
    ended: float
    silence_ms: float | None
    network_ms: float
    judged: float
    final: float
    token: float | None = None
    sentence: float | None = None
    chunk: float | None = None
    chunk_index: int = 0
    chunk_s: float = 0.0


class LatencyManager(Manager):
    """Stamps the turn, on the loop's clock.

    Times run from the end mark to the final transcript, from there to the first token and to
    the first sentence, from the sentence to the first audio; `e2e` from the true end of speech
    to the first audio, `playout` from there to when the user began to hear it. The true end is
    the last voiced frame where the server's detector ended the utterance, else the client's
    mark. The network's is one way, by the client's clock after clock synchronisation.

    A turn takes its stamps with it when its final transcript comes, so later speech (a cough
    during the reply) changes none of them, and only a turn with all stages is reported.
    """

    def __init__(self, event_bus: EventBus, session: Session) -> None:
        self.event_bus = event_bus
        self._clock = session.clock
        self._offsets_ms: deque[float] = deque(maxlen=OFFSET_SAMPLES)
        self._network_ms = 0.0
        self._mark: events.VADSpeechEnd | None = None
        self._ended: float | None = None
        self._silence_ms: float | None = None
        self._judged: float | None = None
        self._turn: _Turn | None = None
        self._speaking = 0  # the turn whose audio is sent

    # --- the utterance --------------------------------------------------------------------------

    @on(events.ClockSyncReceived, 60)
    def _sync(self, event: events.ClockSyncReceived) -> None:
        sent, got = event.client_send_ts, event.client_recv_ts
        self._offsets_ms.append(1000 * (event.server_recv_ts - (sent + got) / 2))

    @on(events.VADSpeechStart, 96)
    def _speech_started(self, event: events.VADSpeechStart) -> None:
        self._mark = None
        if event.client_timestamp:
            offset = median(self._offsets_ms) if self._offsets_ms else 0.0
            self._network_ms = self._clock.wall_ms() - event.client_timestamp - offset

    @on(events.VADSpeechEnd, 96)
    def _speech_ended(self, event: events.VADSpeechEnd) -> None:
        self._mark = event

    @on(events.TurnASREndRequested, 50)
    def _segment_ended(self, event: events.TurnASREndRequested) -> None:
        """Of two marks it is the first that ends a segment; a timer does it without any."""
        mark = self._mark
        self._ended = event.at if mark is None else mark.at
        by_server = mark is not None and mark.source == "server"
        self._silence_ms = mark.silence_ms if mark is not None and by_server else None

    @on(events.VerificationResult, 50)
    def _accepted(self, event: events.VerificationResult) -> None:
        """The words are known; what seems unfinished now waits for its rest."""
        self._judged = event.at if event.is_valid else None

    # --- its answer -----------------------------------------------------------------------------

    @on(events.ASRResultFinal, 50)
    def _transcribed(self, event: events.ASRResultFinal) -> None:
        ended, self._ended = self._ended, None
        judged, self._judged = self._judged, None
        self._turn = None
        if ended is not None:  # else nobody spoke, and there is no end of speech to count from
            self._turn = _Turn(
                id=event.turn_id,
                ended=ended,
                silence_ms=self._silence_ms,
                network_ms=self._network_ms,
                judged=event.at if judged is None else judged,
                final=event.at,
            )

    @on(events.LLMFirstChunk, 50)
    def _first_token(self, event: events.LLMFirstChunk) -> None:
        if self._turn is not None and self._turn.id == event.turn_id:
            self._turn.token = event.at

    @on(events.LLMFirstSentence, 50)
    def _first_sentence(self, event: events.LLMFirstSentence) -> None:
        if self._turn is not None and self._turn.id == event.turn_id:
            self._turn.sentence = event.at

    @on(events.TTSStarted, 50)
    def _started(self, event: events.TTSStarted) -> None:
        self._speaking = event.turn_id

    @on(events.TTSChunkGenerated, 50)
    def _first_chunk(self, event: events.TTSChunkGenerated) -> None:
        turn = self._turn
        if turn is None or turn.chunk is not None or turn.id != self._speaking:
            return
        turn.chunk = event.at
        turn.chunk_index = event.chunk_index
        turn.chunk_s = len(event.audio_chunk) / (2 * RATE_OUT)
        self._report(turn)

    @on(events.TTSChunkPlayedConfirm, 50)
    def _played(self, event: events.TTSChunkPlayedConfirm) -> None:
        turn = self._turn
        if turn is not None and turn.chunk is not None and event.chunk_index == turn.chunk_index:
            self._turn = None  # once a turn
            self._report(turn, began=event.at - turn.chunk_s)

    @on(events.TurnTTSPauseRequested, 50)
    def _paused(self, event: events.TurnTTSPauseRequested) -> None:
        """An interruption within the first chunk: its acknowledgement no longer tells its begin."""
        if self._turn is not None and self._turn.chunk is not None:
            self._turn = None

    def _report(self, turn: _Turn, began: float | None = None) -> None:
        if turn.token is None or turn.sentence is None or turn.chunk is None:
            return
        speech_ended = turn.ended - (turn.silence_ms or 0.0) / 1000
        report = events.LatencyMetricsUpdated(
            network_latency_ms=max(0, round(turn.network_ms)),
            asr_latency_ms=_ms(turn.ended, turn.final),
            llm_first_token_ms=_ms(turn.final, turn.token),
            llm_sentence_ms=_ms(turn.final, turn.sentence),
            tts_first_chunk_ms=_ms(turn.sentence, turn.chunk),
            e2e_latency_ms=_ms(speech_ended, turn.chunk),
            turn_id=turn.id,
            silence_ms=None if turn.silence_ms is None else round(turn.silence_ms),
            decision_ms=_ms(turn.judged, turn.final),
        )
        if began is not None:
            report = replace(report, playout_ms=_ms(speech_ended, began))
        self.event_bus.post(report)

    async def shutdown(self) -> None:
        pass


def _ms(start: float, end: float) -> int:
    return max(0, round(1000 * (end - start)))
