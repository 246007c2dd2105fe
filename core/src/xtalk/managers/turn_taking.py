"""When to listen, speak, pause, resume and answer: drives the table of `dialogue.py`."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from xtalk import events
from xtalk.alarm import Alarm
from xtalk.answer import can_speculate
from xtalk.bus import EventBus, Manager
from xtalk.calls import judge_turn
from xtalk.dialogue import Dialogue, DialogueConfig, Verdict, judge, strip_tags
from xtalk.managers.background import Background
from xtalk.pipeline import Pipeline
from xtalk.speech.interfaces import EndOfTurn
from xtalk.turn_detector import TextTurnDetector, Voice

if TYPE_CHECKING:
    from xtalk.audio import AudioFrame
    from xtalk.session import Session

__all__ = ["TurnTakingManager"]

log = logging.getLogger("xtalk.turn_taking")

VERDICT_S = 0.2  # for a detector that is not inline
MARK_DELAY_MS = 500.0  # how late the original's page marks an end
UNJUDGED = EndOfTurn(kind="complete", reason="no verdict")

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
        self._session = session
        self._now = session.clock.now
        self._alarm = Alarm(self._tick)
        source = config["vad_source"]
        self._silences_ms = (
            min(config["min_silence_ms"], config["vad_redemption_ms"]),
            config["vad_redemption_ms"],
            max(config["max_silence_ms"], config["vad_redemption_ms"]),
        )
        self._detector = session.watched(pipeline.get_turn_detector()) or TextTurnDetector(
            min_silence_ms=config["min_silence_ms"], max_silence_ms=config["max_silence_ms"]
        )
        self._inline = self._detector.inline
        self._guard = session.guard(self._detector)
        self._endpoint = Background(session, self._judge_said)
        self._said = ""
        self._early = anyio.CancelScope()
        self._unjudged: deque[events.TranscriptReady] = deque()
        self._judged = ("", UNJUDGED)
        self._ended_by_server = False
        self._marked_after_ms = MARK_DELAY_MS
        self._voice = Voice()
        self.dialogue = Dialogue(
            DialogueConfig(
                vad_source=source,
                server_vad=pipeline.get_vad_model() is not None and source != "client",
                misfire_s=config["misfire_sec"],
                grace_s=config["grace_sec"],
                decode_s=config["decode_timeout_sec"],
                hold_s=config["semantic_timeout_sec"],
                hold_min_s=config["min_silence_ms"] / 1000,
                hold_max_s=config["max_silence_ms"] / 1000,
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
    @on(events.VADLost, 95)
    @on(events.SpeechCandidate, 95)
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
    @on(events.TurnLLMAgentResumeRequested, 80)
    @on(events.TurnASRStartRequested, 80)
    @on(events.TurnASREndRequested, 80)
    @on(events.TurnASRResetRequested, 80)
    def _feed(self, event: events.BaseEvent) -> None:
        self._act(self.dialogue.feed(event, self._now()))

    @on(events.VADSpeechStart, 96)
    @on(events.VADSpeechEnd, 96)
    def _note_end(self, event: events.VADSpeechStart | events.VADSpeechEnd) -> None:
        ended = event.TYPE == events.VADSpeechEnd.TYPE
        if ended and self.dialogue.segment != "open":
            return  # another end came before
        self._ended_by_server = ended and event.source == "server"

    def hear(self, frame: AudioFrame) -> None:
        """Audio on its way to the recogniser."""
        if self.dialogue.segment != "none":
            self._voice.hear(frame.pcm, self._now())

    @on(events.TurnASRStartRequested, 96)
    def _hear_anew(self, event: events.TurnASRStartRequested) -> None:
        if not event.resume:
            self._voice.begin()

    @property
    def _silence_ms(self) -> float:
        """By the energy of what was heard, and no less than this client waits with its mark."""
        return max(self._marked_after_ms, self._voice.silence_ms(self._now()))

    @on(events.ConversationStarted, 96)
    def _meet_client(self, event: events.ConversationStarted) -> None:
        """A page of the original says nothing of itself, and has waited before it marks an end."""
        self._marked_after_ms = 0.0 if "pauses_itself" in event.client else MARK_DELAY_MS

    @on(events.TranscriptReady, 95)
    def _feed_transcript(self, event: events.TranscriptReady) -> None:
        """A final that a slow detector has to judge waits for it, and so do those behind it."""
        if self._inline or not (self._unjudged or self._open_question(event)):
            self._feed(event)
            return
        self._unjudged.append(event)
        if len(self._unjudged) == 1:
            self._session.spawn(self._judge_in_turn)

    @on(events.TurnASRResetRequested, 96)
    def _drop_unjudged(self, event: events.TurnASRResetRequested) -> None:
        self._unjudged.clear()

    def _open_question(self, event: events.TranscriptReady) -> str:
        """The text of a final transcript on which the detector has the last word, or ""."""
        transcript = event.transcript
        if transcript is None or not transcript.final or self._ended_by_server:
            return ""
        text = strip_tags(transcript.text)
        tagged = transcript.tag is not None or text != " ".join(transcript.text.split())
        text = self.dialogue.with_prefix(text)
        verdict = judge(
            text,
            tag=None,
            agent_speaking=self.dialogue.replying,
            question=self.dialogue.question,
        )
        return "" if tagged or verdict.kind != "complete" else text

    async def _judge_in_turn(self) -> None:
        while self._unjudged:
            event = self._unjudged[0]
            if text := self._open_question(event):
                self._early.cancel()  # the final text needs the detector more
                verdict = await self._ask(text, self._silence_ms)
                self._judged = (text, verdict)
            if self._unjudged and self._unjudged[0] is event:
                self._unjudged.popleft()
                self._feed(event)

    async def _ask(self, text: str, silence_ms: float) -> EndOfTurn:
        """The verdict of a detector that may take its time, but not more than it has."""
        speaking = self.dialogue.replying
        with anyio.move_on_after(VERDICT_S):
            try:
                async with self._guard.lease() as lease:
                    return await judge_turn(
                        lease, text, silence_ms=silence_ms, agent_speaking=speaking
                    )
            except Exception:
                self._failed()
        return UNJUDGED

    @on(events.TranscriptReady, 90)
    def _set_endpoint(self, event: events.TranscriptReady) -> None:
        """Adapt the silence that ends the segment to what was said so far."""
        if event.transcript is None or event.transcript.final:
            return
        text = strip_tags(event.transcript.text)
        if self._inline:
            self._wait_for(self._ask_inline(text, self.dialogue.replying))
        else:
            self._said = text
            self._endpoint.ask()

    async def _judge_said(self) -> None:
        said = self._said
        with anyio.CancelScope() as self._early:
            verdict = await self._ask(said, 0.0)
            if said == self._said:
                self._wait_for(verdict)

    def _wait_for(self, verdict: EndOfTurn) -> None:
        least, default, most = self._silences_ms
        silence_ms = float(default if verdict.wait_ms is None else verdict.wait_ms)
        self.event_bus.post(
            events.TurnEndpointRequested(silence_ms=min(max(silence_ms, least), most))
        )

    def _judge(
        self, text: str, *, tag: str | None, agent_speaking: bool, question: bool
    ) -> Verdict | EndOfTurn:
        """Tags and fillers first; then whether words that count are all that will come."""
        verdict = judge(text, tag=tag, agent_speaking=agent_speaking, question=question)
        if tag is not None or verdict.kind != "complete" or self._ended_by_server:
            return verdict  # the server's endpoint has waited for more already
        if self._inline:
            found = self._ask_inline(text, agent_speaking, self._silence_ms)
        else:
            found = self._judged[1] if self._judged[0] == text else UNJUDGED
        return found if found.kind != "complete" else verdict

    def _ask_inline(self, text: str, agent_speaking: bool, silence_ms: float = 0.0) -> EndOfTurn:
        try:
            return self._detector.judge(text, silence_ms=silence_ms, agent_speaking=agent_speaking)
        except Exception:
            self._failed()
            return UNJUDGED

    def _failed(self) -> None:
        """Whatever somebody's model raises: the conversation goes on without its help."""
        log.exception("the turn detector failed")

    def _act(self, decided: list[events.BaseEvent]) -> None:
        for event in decided:
            if isinstance(event, events.Decision):
                why = ", ".join(f"{name} {value}" for name, value in event.evidence.items())
                log.debug(
                    "turn %d: %s (rule %s: %s)", event.turn_id, event.outcome, event.rule, why
                )
            self.event_bus.post(event)
        self._alarm.set(self.dialogue.deadline)

    def _tick(self) -> None:
        self._act(self.dialogue.tick(self._now()))

    async def shutdown(self) -> None:
        self._alarm.cancel()
