"""Everything that happens and everything that is asked for, as dataclasses.

Three kinds, marked in the section heads: a **command** asks (anyone may post it, one owner
obeys), an **input** reports what the client or the voice-activity detector did, a
**notification** tells what came of it (its owner posts it, the output gateway shows it).

`TYPE` is the key of a subscription. Subclasses with another TYPE do not reach the handlers of
their base; two classes with one TYPE share theirs.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform

    from xtalk.audio import AudioFrame
    from xtalk.speech.interfaces import SpeechChunk, Transcript

else:

    def dataclass_transform(**_: Any) -> Any:
        """typing's own is younger than Python 3.10, and only type checkers need it."""
        return lambda function: function


@dataclass(kw_only=True)
class BaseEvent:
    """`timestamp` is wall-clock time at construction; `at` the loop's time, set by the bus."""

    TYPE: ClassVar[str] = "base"

    session_id: str = field(default="", kw_only=False)
    timestamp: float = field(default_factory=time.time)
    at: float = 0.0

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if cls.TYPE == BaseEvent.TYPE:  # without a TYPE of its own it goes by its name
            cls.TYPE = cls.__name__

    @property
    def event_type(self) -> str:
        return self.TYPE


E = TypeVar("E", bound=BaseEvent)


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def event(type_name: str) -> Callable[[type[E]], type[E]]:
    """Make a class a keyword-only event dataclass with this TYPE."""

    def decorate(cls: type[E]) -> type[E]:
        cls.TYPE = type_name
        return dataclass(kw_only=True)(cls)

    return decorate


def create_event_class(
    *, name: str, fields: Mapping[str, Any] | None = None, type_name: str | None = None
) -> type[BaseEvent]:
    """A new event class from field names and their defaults.

    The type of each field is that of its default; a mutable default is copied for each event.
    `TYPE` is `type_name`, or the name in lower case.
    """
    specs: list[Any] = []
    for key, default in (fields or {}).items():
        if isinstance(default, (list, dict, set)):
            spec = field(default_factory=functools.partial(copy.deepcopy, default))
        else:
            spec = field(default=default)
        specs.append((key, type(default) if default is not None else Any, spec))
    cls: Any = make_dataclass(name, specs, bases=(BaseEvent,), kw_only=True)
    cls.TYPE = type_name or name.lower()
    cls.__module__ = __name__
    return cls  # type: ignore[no-any-return]


# --- input: what the client and the detectors did -----------------------------------------------


@event("websocket.message_received")
class WebSocketMessageReceived(BaseEvent):
    message: str = ""


@event("audio.frame_received")
class AudioFrameReceived(BaseEvent):
    """Raw microphone audio. Made only while somebody has subscribed to it."""

    audio_data: bytes = b""
    sample_rate: int = 16000
    channels: int = 1
    is_final: bool = False
    audio_format: str = "pcm_s16le"


@event("audio.enhanced_frame_received")
class EnhancedAudioFrameReceived(BaseEvent):
    """Audio after the enhancer. Made only while somebody has subscribed to it."""

    audio_data: bytes = b""
    sample_rate: int = 16000
    channels: int = 1
    is_final: bool = False
    audio_format: str = "pcm_s16le"


@event("vad.speech_start")
class VADSpeechStart(BaseEvent):
    """`source` is "client" or "server"; `client_timestamp` the client's clock in ms."""

    confidence: float = 0.0
    speech_probability: float = 0.0
    source: str = "client"
    client_timestamp: float | None = None


@event("vad.speech_end")
class VADSpeechEnd(BaseEvent):
    """`silence_ms` since the last voiced frame, where the server's detector waited for it."""

    silence_ms: float = 0.0
    confidence: float = 0.0
    speech_probability: float = 0.0
    source: str = "client"
    client_timestamp: float | None = None
    reason: str = ""


@event("vad.lost")
class VADLost(BaseEvent):
    """The server's detector hangs or fails. It hears again when it posts a start."""


@event("vad.speech_candidate")
class SpeechCandidate(BaseEvent):
    """The server's detector hears a pause that may become the end of the turn."""

    silence_ms: float = 0.0
    speech_probability: float = 0.0


@event("conversation.started")
class ConversationStarted(BaseEvent):
    """What the client said of itself in `conversation_start`."""

    client: dict[str, Any] = field(default_factory=dict)
    mode: str = ""


@event("conversation.ended")
class ConversationEnded(BaseEvent):
    reason: str = ""


@event("tts.chunk_played_confirm")
class TTSChunkPlayedConfirm(BaseEvent):
    chunk_index: int = 0
    client_timestamp: float | None = None


@event("tts.playback_finished")
class TTSPlaybackFinished(BaseEvent):
    pass


@event("clock.sync_received")
class ClockSyncReceived(BaseEvent):
    """Seconds."""

    client_send_ts: float = 0.0
    server_recv_ts: float = 0.0
    client_recv_ts: float = 0.0


@event("embeddings.text_ready")
class TextForEmbeddingReady(BaseEvent):
    text: str = ""


# --- command: anyone may post it, one owner obeys -----------------------------------------------


@event("turn.asr_start_requested")
class TurnASRStartRequested(BaseEvent):
    """Begin a segment. `resume` joins it to the one whose decoding is still under way."""

    turn_id: int = 0
    resume: bool = False


@event("turn.asr_end_requested")
class TurnASREndRequested(BaseEvent):
    """The segment is over: decode what is left of it."""

    turn_id: int = 0


@event("turn.asr_reset_requested")
class TurnASRResetRequested(BaseEvent):
    """Drop the segment and what was decoded of it. `late`: its final text took too long."""

    turn_id: int = 0
    late: bool = False


@event("turn.endpoint_requested")
class TurnEndpointRequested(BaseEvent):
    """Let the server's detector end this segment after that much silence."""

    silence_ms: float = 0.0


@event("turn.asr_flush_requested")
class TurnASRFlushRequested(BaseEvent):
    reason: str = ""


@event("turn.llm_agent_start_requested")
class TurnLLMAgentStartRequested(BaseEvent):
    """Answer this text. Without a turn_id it takes the next one, when its time has come.

    `event` says why, where nobody said the text, and `reply` what to say without asking the
    agent. `speculated`: what the agent has said ahead of this turn was said to the same words.
    """

    text: str = ""
    turn_id: int = 0
    event: str = ""
    reply: str = ""
    speculated: bool = False


@event("turn.llm_agent_speculate_requested")
class TurnLLMAgentSpeculateRequested(BaseEvent):
    """Let the agent begin to answer, unheard: this may become the text of that turn."""

    text: str = ""
    turn_id: int = 0


@event("turn.llm_agent_discard_requested")
class TurnLLMAgentDiscardRequested(BaseEvent):
    """It did not become the text: drop what the agent has said ahead."""

    turn_id: int = 0
    reason: str = ""


@event("turn.llm_agent_pause_requested")
class TurnLLMAgentPauseRequested(BaseEvent):
    """Keep what the agent says from the client until it is resumed or stopped."""


@event("turn.llm_agent_resume_requested")
class TurnLLMAgentResumeRequested(BaseEvent):
    text: str = ""


@event("turn.llm_agent_stop_requested")
class TurnLLMAgentStopRequested(BaseEvent):
    reason: str = ""


@event("turn.tts_start_requested")
class TurnTTSStartRequested(BaseEvent):
    turn_id: int = 0


@event("turn.tts_text_append_requested")
class TurnTTSTextAppendRequested(BaseEvent):
    """Say this too. `chunk` is audio that the agent made itself."""

    text: str = ""
    reason: str = "asr_partial"
    spoken: str | None = None
    lang: str | None = None
    chunk: SpeechChunk | None = None


@event("turn.tts_flush_requested")
class TurnTTSFlushRequested(BaseEvent):
    """The reply's text is complete."""


@event("turn.tts_stop_requested")
class TurnTTSStopRequested(BaseEvent):
    """Stop speaking. `tell_client` posts TTSStopped also when nothing was speaking."""

    reason: str = ""
    tell_client: bool = True


@event("turn.tts_pause_requested")
class TurnTTSPauseRequested(BaseEvent):
    """Shut the gate of the playback. Without `tell_client` the client has paused itself."""

    tell_client: bool = True
    ruined: bool = False
    client_timestamp: float | None = None


@event("turn.tts_resume_requested")
class TurnTTSResumeRequested(BaseEvent):
    """Open the gate. `restart` sends again, in new chunks, all that was not heard."""

    tell_client: bool = True
    restart: bool = False


@event("tts.backchannel_requested")
class BackchannelRequested(BaseEvent):
    """Let the user hear a short sound such as "mm-hm" now, beside all turns: 1 s at most.

    `audio` of any rate, or what the voice makes of `text`. Nothing comes of it while a reply is
    made or sounds, nor where the client falls silent while its user speaks.
    """

    text: str = ""
    audio: AudioFrame | None = None


@event("tts.reference_audio_changed")
class TTSVoiceChange(BaseEvent):
    voice_name: str = ""


@event("tts.emotion_changed")
class TTSEmotionChange(BaseEvent):
    emotion_name: str = ""
    emotion_vector: list[float] = field(default_factory=list)


@event("tts.speed_changed")
class TTSSpeedChange(BaseEvent):
    speed: float = 1.0


@event("tts.model_switch_requested")
class TTSModelSwitchRequested(BaseEvent):
    model_type: str = ""
    config: dict[str, Any] = field(default_factory=dict)


@event("llm.model_switch_requested")
class LLMModelSwitchRequested(BaseEvent):
    model_name: str = ""
    base_url: str = ""
    api_key: str = ""
    extra_body: Any = None


# --- notification: the owner posts it, the gateway shows it --------------------------------------


@event("asr.result_partial")
class ASRResultPartial(BaseEvent):
    text: str = ""
    confidence: float = 0.0
    is_final: bool = False
    display_text: str = ""
    turn_id: int = 0


@event("asr.result_final")
class ASRResultFinal(BaseEvent):
    text: str = ""
    confidence: float = 0.0
    is_final: bool = True
    display_text: str = ""
    semantic_tag: str = "<complete>"
    turn_id: int = 0


@event("asr.stable_segment_ready")
class ASRStableSegmentReady(BaseEvent):
    """In simultaneous mode: answer this, though the user goes on. Anyone may post it."""

    text: str = ""
    stability: float = 1.0
    start_ts: float = 0.0
    end_ts: float = 0.0
    turn_id: int = 0


@event("asr.transcription_refined")
class TranscriptionRefined(BaseEvent):
    text: str = ""


@event("asr.transcript_ready")
class TranscriptReady(BaseEvent):
    """The recogniser's word on a segment, for turn taking; `error` when decoding failed."""

    transcript: Transcript | None = None
    turn_id: int = 0
    error: str = ""
    lag_ms: float = 0.0


@event("verification.result")
class VerificationResult(BaseEvent):
    """Whether a segment counts. `show` sends `invalid_asr_result` for one that does not."""

    is_valid: bool = False
    text: str = ""
    confidence: float = 0.0
    reason: str = ""
    text_length: int = 0
    chunk_count: int = 0
    show: bool = True


@event("turn.abandoned")
class TurnAbandoned(BaseEvent):
    """Nothing more will sound: the client may leave its state "processing".

    `turn_id` is the turn that is given up; 0 where there was none.
    """

    turn_id: int = 0
    reason: str = ""


@event("turn.decision")
class Decision(BaseEvent):
    """What was decided, by which rule, on which evidence."""

    rule: str = ""
    outcome: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    turn_id: int = 0


@event("llm.first_chunk")
class LLMFirstChunk(BaseEvent):
    turn_id: int = 0


@event("llm.sentence_ready")
class LLMFirstSentence(BaseEvent):
    turn_id: int = 0


@event("llm_agent.response_update")
class LLMAgentResponseUpdate(BaseEvent):
    text: str = ""
    turn_id: int = 0


@event("llm_agent.response_finish")
class LLMAgentResponseFinish(BaseEvent):
    text: str = ""
    turn_id: int = 0


@event("agent.tool_called")
class ToolCallOccurred(BaseEvent):
    name: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    turn_id: int = 0


@event("embeddings.text_searchable")
class TextSearchable(BaseEvent):
    """A text that the session was given can be searched now; `text` is what it says in short."""

    text: str = ""
    passages: int = 0


@event("retrieval.updated")
class RetrievalUpdated(BaseEvent):
    text: str = ""
    is_final: bool = True


@event("turn.reply_audio_ready")
class ReplyAudioReady(BaseEvent):
    """The first audio of a reply may go out; posted just before TTSStarted."""

    turn_id: int = 0


@event("turn.reply_failed")
class ReplyFailed(BaseEvent):
    """The agent ("agent") or the voice ("tts") raised. ErrorOccurred went before it."""

    turn_id: int = 0
    stage: str = ""


@event("turn.reply_text_over")
class ReplyTextOver(BaseEvent):
    """The agent has said all; posted also when it said nothing."""

    turn_id: int = 0
    text: str = ""


@event("turn.reply_over")
class ReplyOver(BaseEvent):
    """Nothing of the reply remains to be played. `heard` is its prefix that was heard."""

    turn_id: int = 0
    heard: str = ""
    estimated: bool = False
    outcome: str = "done"


@event("tts.started")
class TTSStarted(BaseEvent):
    """Without a turn_id a backchannel, as is the TTSFinished that follows it."""

    turn_id: int = 0


@event("tts.chunk_generated")
class TTSChunkGenerated(BaseEvent):
    """PCM16 mono at 48 kHz, posted as it is sent.

    `text_end`: characters of the reply that are said when this chunk has been played; None for
    audio that is no part of a reply.
    """

    audio_chunk: bytes = b""
    chunk_index: int = 0
    text_end: int | None = None


@event("tts.finished")
class TTSFinished(BaseEvent):
    turn_id: int = 0


@event("tts.stopped")
class TTSStopped(BaseEvent):
    pass


@event("tts.paused")
class TTSPaused(BaseEvent):
    pass


@event("tts.resumed")
class TTSResumed(BaseEvent):
    pass


@event("tts.voice_applied")
class TTSVoiceChanged(BaseEvent):
    voice_name: str = ""


@event("tts.emotion_applied")
class TTSEmotionChanged(BaseEvent):
    emotion_name: str = ""
    emotion_vector: list[float] = field(default_factory=list)


@event("tts.speed_applied")
class TTSSpeedChanged(BaseEvent):
    speed: float = 1.0


@event("speaker.recognized")
class SpeakerRecognized(BaseEvent):
    speaker_id: str | None = None
    reason: str = ""


@event("caption.updated")
class CaptionUpdated(BaseEvent):
    text: str = ""
    is_final: bool = False
    reason: str = "refresh"


@event("thought.updated")
class ThoughtUpdated(BaseEvent):
    text: str = ""
    is_final: bool = False


@event("metrics.latency_updated")
class LatencyMetricsUpdated(BaseEvent):
    """Told with the first audio of a reply, and again with `playout_ms` once that was heard.

    Each stage from the one before; `e2e` and `playout` from the true end of speech, the silence
    included that it took to recognise it as such. `decision` is the part of `asr_latency` behind
    the verdict: the wait for the rest of what seemed unfinished.
    """

    network_latency_ms: int = 0
    asr_latency_ms: int = 0
    llm_first_token_ms: int = 0
    llm_sentence_ms: int = 0
    tts_first_chunk_ms: int = 0
    e2e_latency_ms: int = 0
    turn_id: int = 0
    silence_ms: int | None = None
    decision_ms: int | None = None
    playout_ms: int | None = None


@event("error.occurred")
class ErrorOccurred(BaseEvent):
    """`error_message` is a plain sentence, fit to be shown to the client."""

    error_type: str = ""
    error_message: str = ""
    component: str = ""


__all__ = [
    "ASRResultFinal",
    "ASRResultPartial",
    "ASRStableSegmentReady",
    "AudioFrameReceived",
    "BackchannelRequested",
    "BaseEvent",
    "CaptionUpdated",
    "ClockSyncReceived",
    "ConversationEnded",
    "ConversationStarted",
    "Decision",
    "EnhancedAudioFrameReceived",
    "ErrorOccurred",
    "LLMAgentResponseFinish",
    "LLMAgentResponseUpdate",
    "LLMFirstChunk",
    "LLMFirstSentence",
    "LLMModelSwitchRequested",
    "LatencyMetricsUpdated",
    "ReplyAudioReady",
    "ReplyFailed",
    "ReplyOver",
    "ReplyTextOver",
    "RetrievalUpdated",
    "SpeakerRecognized",
    "SpeechCandidate",
    "TTSChunkGenerated",
    "TTSChunkPlayedConfirm",
    "TTSEmotionChange",
    "TTSEmotionChanged",
    "TTSFinished",
    "TTSModelSwitchRequested",
    "TTSPaused",
    "TTSPlaybackFinished",
    "TTSResumed",
    "TTSSpeedChange",
    "TTSSpeedChanged",
    "TTSStarted",
    "TTSStopped",
    "TTSVoiceChange",
    "TTSVoiceChanged",
    "TextForEmbeddingReady",
    "TextSearchable",
    "ThoughtUpdated",
    "ToolCallOccurred",
    "TranscriptReady",
    "TranscriptionRefined",
    "TurnASREndRequested",
    "TurnASRFlushRequested",
    "TurnASRResetRequested",
    "TurnASRStartRequested",
    "TurnAbandoned",
    "TurnEndpointRequested",
    "TurnLLMAgentDiscardRequested",
    "TurnLLMAgentPauseRequested",
    "TurnLLMAgentResumeRequested",
    "TurnLLMAgentSpeculateRequested",
    "TurnLLMAgentStartRequested",
    "TurnLLMAgentStopRequested",
    "TurnTTSFlushRequested",
    "TurnTTSPauseRequested",
    "TurnTTSResumeRequested",
    "TurnTTSStartRequested",
    "TurnTTSStopRequested",
    "TurnTTSTextAppendRequested",
    "VADLost",
    "VADSpeechEnd",
    "VADSpeechStart",
    "VerificationResult",
    "WebSocketMessageReceived",
    "create_event_class",
    "event",
]
