"""How long each stage of a turn took, told with the first audio of its reply."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING

from xtalk import events
from xtalk.bus import EventBus, Manager

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["LatencyManager"]

OFFSET_SAMPLES = 5

on = Manager.event_handler


class LatencyManager(Manager):
    """Stamps the turn, on the loop's clock.

    Times run from the end mark to the final transcript, from there to the first token and to
    the first sentence, from the sentence to the first audio; `e2e` from the end mark to the
    first audio. The network's is one way, by the client's clock after clock synchronisation.
    """

    def __init__(self, event_bus: EventBus, session: Session) -> None:
        self.event_bus = event_bus
        self._clock = session.clock
        self._offsets_ms: deque[float] = deque(maxlen=OFFSET_SAMPLES)
        self._network_ms = 0.0
        self._ended = self._final = self._token = self._sentence = 0.0
        self._turn_id = 0

    @on(events.ClockSyncReceived, 60)
    def _sync(self, event: events.ClockSyncReceived) -> None:
        sent, got = event.client_send_ts, event.client_recv_ts
        self._offsets_ms.append(1000 * (event.server_recv_ts - (sent + got) / 2))

    @on(events.VADSpeechStart, 50)
    def _speech_started(self, event: events.VADSpeechStart) -> None:
        if event.client_timestamp:
            offset = median(self._offsets_ms) if self._offsets_ms else 0.0
            self._network_ms = self._clock.wall_ms() - event.client_timestamp - offset

    @on(events.VADSpeechEnd, 50)
    def _speech_ended(self, event: events.VADSpeechEnd) -> None:
        self._ended = event.at

    @on(events.ASRResultFinal, 50)
    def _transcribed(self, event: events.ASRResultFinal) -> None:
        self._turn_id = event.turn_id
        self._final = event.at
        self._token = self._sentence = 0.0

    @on(events.LLMFirstChunk, 50)
    def _first_token(self, event: events.LLMFirstChunk) -> None:
        self._token = event.at

    @on(events.LLMFirstSentence, 50)
    def _first_sentence(self, event: events.LLMFirstSentence) -> None:
        self._sentence = event.at

    @on(events.TTSChunkGenerated, 50)
    def _first_chunk(self, event: events.TTSChunkGenerated) -> None:
        if not self._turn_id or not self._sentence:
            return
        self._turn_id = 0  # once a turn
        self.event_bus.post(
            events.LatencyMetricsUpdated(
                network_latency_ms=max(0, round(self._network_ms)),
                asr_latency_ms=_ms(self._ended, self._final),
                llm_first_token_ms=_ms(self._final, self._token),
                llm_sentence_ms=_ms(self._final, self._sentence),
                tts_first_chunk_ms=_ms(self._sentence, event.at),
                e2e_latency_ms=_ms(self._ended, event.at),
            )
        )

    async def shutdown(self) -> None:
        pass


def _ms(start: float, end: float) -> int:
    return max(0, round(1000 * (end - start)))
