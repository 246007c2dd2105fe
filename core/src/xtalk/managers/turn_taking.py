"""When to listen, speak, pause, resume and answer: drives the table of `dialogue.py`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from xtalk import events
from xtalk.bus import EventBus, Manager
from xtalk.dialogue import Dialogue, DialogueConfig, Verdict, judge, strip_tags
from xtalk.pipeline import Pipeline
from xtalk.speculation import can_speculate
from xtalk.turn_detector import TextTurnDetector

if TYPE_CHECKING:
    from xtalk.session import Session
    from xtalk.speech.interfaces import EndOfTurn

__all__ = ["TurnTakingManager"]

log = logging.getLogger("xtalk.turn_taking")

on = Manager.event_handler


class TurnTakingManager(Manager):
    """Feeds the dialogue what happens, posts what it decides, keeps its one timer."""

    def __init__(
        self,
        event_bus: EventBus,
        pipeline: Pipeline,
        config: dict[str, Any],
        session: Session,
    ) -> None:
        self.event_bus = event_bus
        self._now = session.clock.now
        self._timer: asyncio.TimerHandle | None = None
        source = config["vad_source"]
        self._silences_ms = (
            min(config["min_silence_ms"], config["vad_redemption_ms"]),
            config["vad_redemption_ms"],
            max(config["max_silence_ms"], config["vad_redemption_ms"]),
        )
        self._detector = session.watched(pipeline.get_turn_detector()) or TextTurnDetector(
            min_silence_ms=config["min_silence_ms"], max_silence_ms=config["max_silence_ms"]
        )
        self._ended_by_server = False
        self.dialogue = Dialogue(
            DialogueConfig(
                vad_source=source,
                server_vad=pipeline.get_vad_model() is not None and source != "client",
                misfire_s=config["misfire_sec"],
                grace_s=config["grace_sec"],
                decode_s=config["decode_timeout_sec"],
                hold_s=config["semantic_timeout_sec"],
                noaudio_s=config["no_audio_sec"],
                segment_s=config["segment_sec"],
                speculate=config["speculate"] and can_speculate(pipeline.get_agent()),
            ),
            session.clock.now(),
            judge=self._judge,
        )

    @on(events.ConversationStarted, 95)
    @on(events.ConversationEnded, 95)
    @on(events.VADSpeechStart, 95)
    @on(events.VADSpeechEnd, 95)
    @on(events.SpeechCandidate, 95)
    @on(events.TranscriptReady, 95)
    @on(events.ClockSyncReceived, 95)
    @on(events.TTSPaused, 95)
    @on(events.TTSResumed, 95)
    @on(events.TTSStopped, 95)
    @on(events.TTSStarted, 95)
    @on(events.TTSChunkGenerated, 95)
    @on(events.TTSFinished, 95)
    @on(events.ReplyAudioReady, 95)
    @on(events.ReplyFailed, 95)
    @on(events.ReplyTextOver, 95)
    @on(events.ReplyOver, 95)
    @on(events.TTSChunkPlayedConfirm, 95)
    @on(events.TTSPlaybackFinished, 95)
    @on(events.TurnLLMAgentStartRequested, 95)
    @on(events.TurnASRStartRequested, 80)
    @on(events.TurnASREndRequested, 80)
    @on(events.TurnASRResetRequested, 80)
    def _feed(self, event: events.BaseEvent) -> None:
        self._act(self.dialogue.feed(event, self._now()))

    @on(events.VADSpeechStart, 96)
    @on(events.VADSpeechEnd, 96)
    def _note_end(self, event: events.VADSpeechStart | events.VADSpeechEnd) -> None:
        self._ended_by_server = event.TYPE == events.VADSpeechEnd.TYPE and event.source == "server"

    @on(events.TranscriptReady, 90)
    def _set_endpoint(self, event: events.TranscriptReady) -> None:
        """Adapt the silence that ends the segment to what was said so far."""
        if event.transcript is None or event.transcript.final:
            return
        least, default, most = self._silences_ms
        verdict = self._detector.judge(
            strip_tags(event.transcript.text),
            silence_ms=0.0,
            agent_speaking=self.dialogue.sounding,
        )
        silence_ms = float(default if verdict.wait_ms is None else verdict.wait_ms)
        self.event_bus.post(
            events.TurnEndpointRequested(silence_ms=min(max(silence_ms, least), most))
        )

    def _judge(self, text: str, *, tag: str | None, agent_speaking: bool) -> Verdict | EndOfTurn:
        """Tags and fillers first; then whether words that count are all that will come."""
        verdict = judge(text, tag=tag, agent_speaking=agent_speaking)
        if tag is not None or verdict.kind != "complete" or self._ended_by_server:
            return verdict  # the server's endpoint has waited for more already
        found = self._detector.judge(text, silence_ms=0.0, agent_speaking=agent_speaking)
        return found if found.kind != "complete" else verdict

    def _act(self, decided: list[events.BaseEvent]) -> None:
        for event in decided:
            if isinstance(event, events.Decision):
                log.debug("turn %d: %s (rule %s)", event.turn_id, event.outcome, event.rule)
            self.event_bus.post(event)
        self._schedule()

    def _schedule(self) -> None:
        deadline = self.dialogue.deadline
        if deadline is None or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._act(self.dialogue.tick(self._now()))

    async def shutdown(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
