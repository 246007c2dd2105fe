"""Every message of the wire as one class: its name, its fields, and how it is written down.

    Message
    +-- ClientMessage   what a client sends; `timestamp` is its own clock in milliseconds
    +-- ServerMessage   what the server sends; most carry their fields inside `data`

A class is called like its action in camel case. Fields are flat in Python; `LAYOUT` says where
they stand in the JSON:

    data     {"action": A, "data": {fields}}      most of what the server sends
    top      {"action": A, fields}                everything a client sends; pong and the queue
    blank    {"action": A, "data": ""}            signals without fields

Unknown fields are ignored, a field that is null counts as missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, field_validator
from typing_extensions import TypedDict

from xtalk.audio import RATE_IN, RATE_OUT
from xtalk.errors import ProtocolError

Layout = Literal["data", "top", "blank"]

# Beyond 2**53 a JavaScript number is no longer exact, and 1e400 would overflow every float.
Number = Annotated[int | float, Field(ge=-(2**53), le=2**53), WithJsonSchema({"type": "number"})]
Count = Annotated[int, Field(ge=0, le=2**53)]

SPEED_MIN: Final = 0.5
SPEED_MAX: Final = 1.5


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    ACTION: ClassVar[str] = ""
    LAYOUT: ClassVar[Layout] = "top"
    SPARSE: ClassVar[bool] = False  # what is None is not sent at all

    def to_json(self) -> str:
        """The text frame. Costs one to three microseconds."""
        return f'{{"action":"{self.ACTION}"{self._fields_json()}}}'

    def _fields_json(self) -> str:
        if self.LAYOUT == "blank":
            return ',"data":""'
        to_json = self.__pydantic_serializer__.to_json
        fields = to_json(self, exclude_none=self.SPARSE, by_alias=True).decode()
        if self.LAYOUT == "data":
            return f',"data":{fields}'
        return f",{fields[1:-1]}" if len(fields) > 2 else ""


class ClientMessage(Message):
    SPARSE: ClassVar[bool] = True

    timestamp: Number | None = None


class ServerMessage(Message):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    LAYOUT: ClassVar[Layout] = "data"


# --- what a client sends ------------------------------------------------------------------------


class ClientTraits(TypedDict, total=False):
    """What a client may say of itself when it starts; an addition to the original's protocol.

    `pauses_itself`: it suspends its playback when its user begins to speak (the original's page
    does; a client that does not is sent `pause_tts`). `decisions`: it wants `decision` messages.
    """

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    pauses_itself: bool
    decisions: bool


class Ping(ClientMessage):
    ACTION: ClassVar[str] = "ping"


class ClockSync(ClientMessage):
    """All three in seconds: when the ping left, reached the server, and its pong came back."""

    ACTION: ClassVar[str] = "clock_sync"

    client_send_ts: Number = 0.0
    server_recv_ts: Number = 0.0
    client_recv_ts: Number = 0.0


class ConversationStart(ClientMessage):
    """`mode` is "pure_frontend" for a client that does no voice-activity detection."""

    ACTION: ClassVar[str] = "conversation_start"

    mode: str = ""
    client: ClientTraits = Field(default_factory=lambda: ClientTraits())


class ConversationEnd(ClientMessage):
    ACTION: ClassVar[str] = "conversation_end"

    reason: str = ""


class VadSpeechStart(ClientMessage):
    ACTION: ClassVar[str] = "vad_speech_start"

    confidence: Number = 0.8


class VadSpeechEnd(ClientMessage):
    """`reason` is "muted" when the user muted the microphone."""

    ACTION: ClassVar[str] = "vad_speech_end"

    confidence: Number = 0.8
    reason: str = ""


class TtsPlaybackFinished(ClientMessage):
    ACTION: ClassVar[str] = "tts_playback_finished"


class TtsChunkPlayed(ClientMessage):
    ACTION: ClassVar[str] = "tts_chunk_played"

    chunk_index: Count


class ChangeVoice(ClientMessage):
    ACTION: ClassVar[str] = "change_voice"

    voice_name: str = ""


class ChangeEmotion(ClientMessage):
    ACTION: ClassVar[str] = "change_emotion"

    emotion_name: str = ""
    emotion_vector: list[Number] = Field(default_factory=list)


class ChangeTtsSpeed(ClientMessage):
    """Speeds outside 0.5 to 1.5 become the nearest that is inside."""

    ACTION: ClassVar[str] = "change_tts_speed"

    speed: Number = 1.0

    @field_validator("speed")
    @classmethod
    def _clamp(cls, speed: float) -> float:
        return min(max(speed, SPEED_MIN), SPEED_MAX)


class ChangeTtsModel(ClientMessage):
    ACTION: ClassVar[str] = "change_tts_model"

    model_type: str = Field(min_length=1)
    config: dict[str, Any] = Field(default_factory=dict)


class ChangeLlmModel(ClientMessage):
    ACTION: ClassVar[str] = "change_llm_model"

    model_config = ConfigDict(protected_namespaces=())

    model_name: str = Field(min_length=1)
    base_url: str = ""
    api_key: str = Field(default="", repr=False)
    extra_body: dict[str, Any] | None = None


# --- what the server sends ----------------------------------------------------------------------


class QueueStatus(ServerMessage):
    """`position` counts from 1."""

    ACTION: ClassVar[str] = "queue_status"
    LAYOUT: ClassVar[Layout] = "top"

    position: int
    limit: int
    active: int


class QueueGranted(ServerMessage):
    """Only for a client that was queued; the original's page prints "It's your turn!"."""

    ACTION: ClassVar[str] = "queue_granted"
    LAYOUT: ClassVar[Layout] = "top"


class SessionInfo(ServerMessage):
    """The first message of a session. The rates (Hz) are an addition to the original's."""

    ACTION: ClassVar[str] = "session_info"

    session_id: str
    sample_rate_in: int = RATE_IN
    sample_rate_out: int = RATE_OUT


class Pong(ServerMessage):
    """`client_timestamp` is the ping's own, the other the server's clock, in milliseconds."""

    ACTION: ClassVar[str] = "pong"
    LAYOUT: ClassVar[Layout] = "top"

    client_timestamp: Number = 0
    server_recv_timestamp: int


class UpdateAsr(ServerMessage):
    """`text` is the whole utterance so far."""

    ACTION: ClassVar[str] = "update_asr"

    text: str
    confidence: float = 0.0
    is_final: Literal[False] = False
    turn_id: int


class FinishAsr(ServerMessage):
    ACTION: ClassVar[str] = "finish_asr"

    text: str
    confidence: float = 0.0
    is_final: Literal[True] = True
    turn_id: int


def _may_be_missing(schema: dict[str, Any]) -> None:
    """The schema of a message that is SPARSE."""
    for name, field in schema["properties"].items():
        if "anyOf" in field:
            schema["properties"][name] = field["anyOf"][0]
            schema["required"].remove(name)


class InvalidAsrResult(ServerMessage):
    """The user's words were none, and whatever went on before goes on.

    An addition to the original's: with `turn_id` it is that turn which is given up. Nothing more
    of its answer will come or sound.
    """

    ACTION: ClassVar[str] = "invalid_asr_result"
    LAYOUT: ClassVar[Layout] = "top"
    SPARSE: ClassVar[bool] = True

    model_config = ConfigDict(json_schema_extra=_may_be_missing)

    data: Literal[""] = ""
    turn_id: int | None = None


class RefineTranscription(ServerMessage):
    ACTION: ClassVar[str] = "refine_transcription"

    text: str


class UpdateResp(ServerMessage):
    """`text` is the whole reply so far."""

    ACTION: ClassVar[str] = "update_resp"

    text: str
    turn_id: int


class FinishResp(ServerMessage):
    ACTION: ClassVar[str] = "finish_resp"

    text: str
    turn_id: int


class StartTts(ServerMessage):
    ACTION: ClassVar[str] = "start_tts"
    LAYOUT: ClassVar[Layout] = "blank"


class TtsChunkMeta(ServerMessage):
    """Stands directly before the binary frame of that chunk; indices count from 1.

    An addition to the original's: `text_end`, how many characters (code points) of the reply's
    text are said when this chunk has been played. An estimate, exact where a sentence ends.
    """

    ACTION: ClassVar[str] = "tts_chunk_meta"
    SPARSE: ClassVar[bool] = True

    model_config = ConfigDict(json_schema_extra=_may_be_missing)

    chunk_index: int
    text_end: int | None = None


class TtsFinished(ServerMessage):
    ACTION: ClassVar[str] = "tts_finished"


class StopTts(ServerMessage):
    ACTION: ClassVar[str] = "stop_tts"
    LAYOUT: ClassVar[Layout] = "blank"


class PauseTts(ServerMessage):
    ACTION: ClassVar[str] = "pause_tts"
    LAYOUT: ClassVar[Layout] = "blank"


class ResumeTts(ServerMessage):
    ACTION: ClassVar[str] = "resume_tts"
    LAYOUT: ClassVar[Layout] = "blank"


class VoiceChanged(ServerMessage):
    ACTION: ClassVar[str] = "voice_changed"

    name: str


class EmotionChanged(ServerMessage):
    ACTION: ClassVar[str] = "emotion_changed"

    name: str
    vector: list[float] = Field(default_factory=list)


class SpeedChanged(ServerMessage):
    """How fast the voice speaks from now on, 1.0 being its own speed; an addition."""

    ACTION: ClassVar[str] = "speed_changed"

    speed: float


class ToolCalled(ServerMessage):
    ACTION: ClassVar[str] = "tool_called"

    name: str
    args: dict[str, Any] = Field(default_factory=dict)


class RetrievalUpdated(ServerMessage):
    ACTION: ClassVar[str] = "retrieval_updated"

    text: str
    is_final: bool = True


class ThoughtUpdated(ServerMessage):
    ACTION: ClassVar[str] = "thought_updated"

    text: str
    is_final: bool = False


class CaptionUpdated(ServerMessage):
    ACTION: ClassVar[str] = "caption_updated"

    text: str
    is_final: bool = False
    reason: str = "refresh"


class SpeakerUpdated(ServerMessage):
    """`reason` is one of recognized, no_audio, too_short, error."""

    ACTION: ClassVar[str] = "speaker_updated"

    speaker_id: str | None = None
    reason: str = "recognized"


class LatencyMetrics(ServerMessage):
    """Milliseconds, each from the stage before; `e2e` from the end of speech to the first audio.

    An addition to the original's: `silence_ms` (part of e2e) is the silence that the server's
    detector waited for, and the message comes once more when the user has heard the first audio,
    with `playout_ms` from the end of speech to then. `decision_ms` (part of asr_latency) is how
    long the answer waited, once the words were known, for the rest of what seemed unfinished.
    """

    ACTION: ClassVar[str] = "latency_metrics"
    SPARSE: ClassVar[bool] = True

    model_config = ConfigDict(json_schema_extra=_may_be_missing)

    network_latency_ms: int = 0
    asr_latency_ms: int = 0
    llm_first_token_ms: int = 0
    llm_sentence_ms: int = 0
    tts_first_chunk_ms: int = 0
    e2e_latency_ms: int = 0
    turn_id: int | None = None
    silence_ms: int | None = None
    decision_ms: int | None = None
    playout_ms: int | None = None


class Decision(ServerMessage):
    """Why the server did what it did; an addition, only for clients that asked for it."""

    ACTION: ClassVar[str] = "decision"

    rule: str
    outcome: str
    evidence: dict[str, Any] = Field(default_factory=dict)
    turn_id: int = 0


class Error(ServerMessage):
    """A plain sentence for the user, `message` in Python.

    An addition to the original's: `error_type` names what failed, for programs. A client that asked
    for what the voice cannot do is told `voice_not_changed`, `emotion_not_changed` or
    `speed_not_changed`, one that gave a text that is not kept `text_refused`.
    """

    ACTION: ClassVar[str] = "error"
    LAYOUT: ClassVar[Layout] = "top"
    SPARSE: ClassVar[bool] = True

    model_config = ConfigDict(json_schema_extra=_may_be_missing, populate_by_name=True)

    message: str = Field(validation_alias="data", serialization_alias="data")
    error_type: str | None = None


# --- beside the messages ------------------------------------------------------------------------


class TtsChunk:
    """A piece of the reply: PCM16 mono at 48 kHz, and what its meta says; sent as both."""

    __slots__ = ("chunk_index", "pcm", "text_end")

    def __init__(self, chunk_index: int, pcm: bytes, text_end: int | None = None) -> None:
        self.chunk_index = chunk_index
        self.pcm = pcm
        self.text_end = text_end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TtsChunk) and (self.chunk_index, self.pcm, self.text_end) == (
            other.chunk_index,
            other.pcm,
            other.text_end,
        )

    def __hash__(self) -> int:
        return hash((self.chunk_index, self.pcm))

    def __repr__(self) -> str:
        return f"TtsChunk({self.chunk_index}, {len(self.pcm)} bytes)"


class Signal:
    """A message with an action of somebody's own: what `send_signal(dict)` takes."""

    __slots__ = ("body",)

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = body

    @property
    def action(self) -> str:
        return str(self.body.get("action") or "")

    def to_json(self) -> str:
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":"))

    def __repr__(self) -> str:
        return f"Signal({self.action!r})"


def _subclasses(base: type[Message]) -> dict[str, type[Message]]:
    return {cls.ACTION: cls for cls in base.__subclasses__()}


CLIENT_MESSAGES: Final = cast("dict[str, type[ClientMessage]]", _subclasses(ClientMessage))
SERVER_MESSAGES: Final = cast("dict[str, type[ServerMessage]]", _subclasses(ServerMessage))

M = TypeVar("M", bound=Message)


def build(cls: type[M], fields: Mapping[str, Any]) -> M:
    """The message of this class, or ProtocolError that names the field and what is wrong."""
    try:
        return cls.model_validate({k: v for k, v in fields.items() if v is not None})
    except ValidationError as error:
        raise ProtocolError(_sentence(cls, error)) from None


def _sentence(cls: type[Message], error: ValidationError) -> str:
    errors = error.errors(include_url=False, include_context=False)
    field = str(errors[0]["loc"][0])
    # Of a union the last branch is the widest: "a number" rather than "an integer".
    wrong = [item for item in errors if item["loc"][0] == field][-1]
    if wrong["type"] == "missing":
        return f"the message {cls.ACTION!r} needs the field {field!r}"
    reason = wrong["msg"][:1].lower() + wrong["msg"][1:]
    found = _KINDS.get(type(wrong["input"]), "something else")
    return f"the field {field!r} of {cls.ACTION!r} is wrong: {reason}; found {found}"


_KINDS: Final = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "a text",
    type(None): "nothing",
}
