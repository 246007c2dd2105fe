"""When to listen, speak, pause, resume and answer: drives the table of `dialogue.py`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from xtalk import events
from xtalk.bus import EventBus, Manager
from xtalk.dialogue import Dialogue, DialogueConfig
from xtalk.pipeline import Pipeline

if TYPE_CHECKING:
    from xtalk.session import Session

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
            ),
            session.clock.now(),
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
    def _feed(self, event: events.BaseEvent) -> None:
        self._act(self.dialogue.feed(event, self._now()))

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
