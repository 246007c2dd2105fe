"""What the client is told: each event that it shall see becomes one message.

Every handler here is an ordinary subscription. Take one away and its message is gone; put
another in its place and that one speaks instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xtalk import events
from xtalk.bus import EventBus, Manager
from xtalk.wire import messages
from xtalk.wire.messages import Signal, TtsChunk

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["OutputGateway"]

PRIORITY = 5  # last: whoever else handles an event has finished before it is shown

on = Manager.event_handler


class OutputGateway(Manager):
    """Turns events into messages, in the order in which they were posted."""

    def __init__(
        self, event_bus: EventBus, session_id: str, config: dict[str, Any], session: Session
    ) -> None:
        self.event_bus = event_bus
        self.session_id = session_id
        self.config = config
        self._send = session.send
        self._wants_decisions = False

    async def send_signal(self, signal: dict[str, Any]) -> None:
        """Send a message of your own: a dict with `action` and whatever the page expects."""
        self._send(Signal(signal))

    async def send_audio(self, audio: bytes, chunk_index: int = 0) -> None:
        """Send PCM16 mono at 48 kHz, its meta in front."""
        self._send(TtsChunk(chunk_index, audio))

    @on(events.ConversationStarted, PRIORITY)
    def _on_conversation_started(self, event: events.ConversationStarted) -> None:
        self._wants_decisions = bool(event.client.get("decisions"))

    @on(events.ASRResultPartial, PRIORITY)
    def _on_asr_partial(self, event: events.ASRResultPartial) -> None:
        self._send(
            messages.UpdateAsr(
                text=event.display_text or event.text,
                turn_id=event.turn_id,
                confidence=event.confidence,
            )
        )

    @on(events.ASRResultFinal, PRIORITY)
    def _on_asr_final(self, event: events.ASRResultFinal) -> None:
        self._send(messages.FinishAsr(text=event.display_text or event.text, turn_id=event.turn_id))

    @on(events.VerificationResult, PRIORITY)
    def _on_verification(self, event: events.VerificationResult) -> None:
        if not event.is_valid and event.show:
            self._send(messages.InvalidAsrResult())

    @on(events.TurnAbandoned, PRIORITY)
    def _on_turn_abandoned(self, event: events.TurnAbandoned) -> None:
        self._send(messages.InvalidAsrResult(turn_id=event.turn_id or None))

    @on(events.TranscriptionRefined, PRIORITY)
    def _on_refined(self, event: events.TranscriptionRefined) -> None:
        self._send(messages.RefineTranscription(text=event.text))

    @on(events.LLMAgentResponseUpdate, PRIORITY)
    def _on_response_update(self, event: events.LLMAgentResponseUpdate) -> None:
        self._send(messages.UpdateResp(text=event.text, turn_id=event.turn_id))

    @on(events.LLMAgentResponseFinish, PRIORITY)
    def _on_response_finish(self, event: events.LLMAgentResponseFinish) -> None:
        self._send(messages.FinishResp(text=event.text, turn_id=event.turn_id))

    @on(events.ToolCallOccurred, PRIORITY)
    def _on_tool_call(self, event: events.ToolCallOccurred) -> None:
        self._send(messages.ToolCalled(name=event.name, args=event.args))

    @on(events.RetrievalUpdated, PRIORITY)
    def _on_retrieval(self, event: events.RetrievalUpdated) -> None:
        self._send(messages.RetrievalUpdated(text=event.text))

    @on(events.TTSStarted, PRIORITY)
    def _on_tts_started(self, event: events.TTSStarted) -> None:
        self._send(messages.StartTts())

    @on(events.TTSChunkGenerated, PRIORITY)
    def _on_tts_chunk(self, event: events.TTSChunkGenerated) -> None:
        self._send(TtsChunk(event.chunk_index, event.audio_chunk, event.text_end))

    @on(events.TTSFinished, PRIORITY)
    def _on_tts_finished(self, event: events.TTSFinished) -> None:
        self._send(messages.TtsFinished())

    @on(events.TTSStopped, PRIORITY)
    def _on_tts_stopped(self, event: events.TTSStopped) -> None:
        self._send(messages.StopTts())

    @on(events.TTSPaused, PRIORITY)
    def _on_tts_paused(self, event: events.TTSPaused) -> None:
        self._send(messages.PauseTts())

    @on(events.TTSResumed, PRIORITY)
    def _on_tts_resumed(self, event: events.TTSResumed) -> None:
        self._send(messages.ResumeTts())

    @on(events.TTSVoiceChanged, PRIORITY)
    def _on_voice_changed(self, event: events.TTSVoiceChanged) -> None:
        self._send(messages.VoiceChanged(name=event.voice_name))

    @on(events.TTSEmotionChanged, PRIORITY)
    def _on_emotion_changed(self, event: events.TTSEmotionChanged) -> None:
        self._send(messages.EmotionChanged(name=event.emotion_name, vector=event.emotion_vector))

    @on(events.TTSSpeedChanged, PRIORITY)
    def _on_speed_changed(self, event: events.TTSSpeedChanged) -> None:
        self._send(messages.SpeedChanged(speed=event.speed))

    @on(events.SpeakerRecognized, PRIORITY)
    def _on_speaker(self, event: events.SpeakerRecognized) -> None:
        self._send(messages.SpeakerUpdated(speaker_id=event.speaker_id, reason=event.reason))

    @on(events.CaptionUpdated, PRIORITY)
    def _on_caption(self, event: events.CaptionUpdated) -> None:
        self._send(messages.CaptionUpdated(text=event.text))

    @on(events.ThoughtUpdated, PRIORITY)
    def _on_thought(self, event: events.ThoughtUpdated) -> None:
        self._send(messages.ThoughtUpdated(text=event.text))

    @on(events.LatencyMetricsUpdated, PRIORITY)
    def _on_latency(self, event: events.LatencyMetricsUpdated) -> None:
        self._send(
            messages.LatencyMetrics(
                network_latency_ms=event.network_latency_ms,
                asr_latency_ms=event.asr_latency_ms,
                llm_first_token_ms=event.llm_first_token_ms,
                llm_sentence_ms=event.llm_sentence_ms,
                tts_first_chunk_ms=event.tts_first_chunk_ms,
                e2e_latency_ms=event.e2e_latency_ms,
                turn_id=event.turn_id or None,
                silence_ms=event.silence_ms,
                decision_ms=event.decision_ms,
                playout_ms=event.playout_ms,
            )
        )

    @on(events.Decision, PRIORITY)
    def _on_decision(self, event: events.Decision) -> None:
        if self._wants_decisions:
            self._send(
                messages.Decision(
                    rule=event.rule,
                    outcome=event.outcome,
                    evidence=event.evidence,
                    turn_id=event.turn_id,
                )
            )

    @on(events.ErrorOccurred, PRIORITY)
    def _on_error(self, event: events.ErrorOccurred) -> None:
        self._send(messages.Error(message=event.error_message, error_type=event.error_type or None))

    async def shutdown(self) -> None:
        pass
