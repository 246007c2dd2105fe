"""Qwen3-ASR-Flash-Realtime in DashScope: a WebSocket that is ready before anybody speaks.

    client                          service
                                    session.created
    session.update
                                    session.updated                 so far ahead of time
    input_audio_buffer.append, ...
                                    ....text (stable and unstable words), ...
                                    ....completed, for each part
    input_audio_buffer.commit       without turn detection
    session.finish
                                    ....completed
                                    session.finished

With turn detection (`enable_turn_detection`) the service cuts a segment into parts at pauses,
without it where a segment gets too long for it. Nothing tells a part that it cut by itself from
the answer to our commit; but after `session.finish` it completes all that is left and says so.
Nothing is guessed and nothing waited for; the connection is used up, and the next one is made at
once.
"""

from __future__ import annotations

import base64
import copy
import json
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlencode

import anyio
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from xtalk.audio import RATE_IN, AudioFrame, Resampler
from xtalk.remote import (
    CONNECT_S,
    FINAL_S,
    Refusal,
    Remote,
    Replay,
    Unreadable,
    WarmSocket,
    blocking,
    exchange,
    open_socket,
    read_key,
)
from xtalk.speech.interfaces import ASR, Transcript
from xtalk.speech.remote import is_audible
from xtalk_asr_qwen3.heard import Heard

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["Qwen3ASRFlashConfig", "Qwen3ASRFlashRealtime"]

CHECK = "check that DASHSCOPE_API_KEY is valid, and model, url and language in the configuration"
REACH = "check that this machine reaches it, and url in the configuration"

MOST_BYTES = 32_000  # of audio in a message: a second at 16 kHz

# The service's words for a failure, in lower case and without marks, by their beginnings.
STATUSES = {
    "invalidapikey": 401,
    "unauthorized": 401,
    "accessdenied": 403,
    "modelaccessdenied": 403,
    "arrearage": 402,
    "prepaidbilloverdue": 402,
    "postpaidbilloverdue": 402,
    "allocationquotafreetieronly": 402,
    "throttling": 429,
    "ratelimit": 429,
    "insufficientquota": 429,
    "limitrequests": 429,
    "requesttimeout": 408,
    "responsetimeout": 408,
    "modelnotfound": 404,
    "invalid": 400,
    "datainspectionfailed": 400,
}


class Qwen3ASRFlashConfig(BaseModel):
    """How to recognise. The names are the original's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(description="the service's model")] = "qwen3-asr-flash-realtime"
    url: Annotated[
        str,
        Field(
            pattern="^wss?://",
            description="the service's address, by region",
        ),
    ] = "wss://dashscope.aliyuncs.com/api-ws/v1/realtime"
    language: Annotated[
        str | None, Field(description="what is spoken; empty lets the service find out")
    ] = "zh"
    sample_rate: Annotated[Literal[16000, 8000], Field(description="the rate to send, in Hz")] = (
        16000
    )
    input_audio_format: Literal["pcm"] = "pcm"
    enable_turn_detection: Annotated[
        bool,
        Field(description="let the service cut at pauses; it then tells words while one speaks"),
    ] = True
    turn_detection_threshold: Annotated[
        float, Field(ge=-1, le=1, description="lower hears more")
    ] = 0.2
    turn_detection_silence_ms: Annotated[
        int, Field(ge=200, le=6000, description="how long a pause of the service's is")
    ] = 800
    stream_chunk_bytes_hint: Annotated[
        int, Field(ge=2, description="bytes of audio in a message")
    ] = 3200
    tail_silence_cycles: Annotated[
        int, Field(ge=0, description="messages of silence behind a segment, with turn detection")
    ] = 30
    tail_silence_bytes_per_cycle: Annotated[int, Field(ge=0, description="the length of each")] = (
        1024
    )
    tail_silence_delay_sec: Annotated[
        float,
        Field(ge=0, description="not obeyed: the silence is sent at once, or each turn would wait"),
    ] = 0.01
    send_delay_sec: Annotated[
        float, Field(ge=0, description="a pause behind each message of audio")
    ] = 0.0
    final_wait_timeout_sec: Annotated[
        float, Field(gt=0, description="seconds to the final text once nobody speaks any more")
    ] = FINAL_S
    connect_retry_max_attempts: Annotated[
        int, Field(ge=1, description="how often a segment is sent of which nothing was heard")
    ] = 5
    connect_retry_base_delay_sec: Annotated[
        float,
        Field(
            ge=0, description="seconds before the second attempt; doubled before each further one"
        ),
    ] = 0.6
    connect_retry_max_delay_sec: Annotated[
        float, Field(ge=0, description="at most, in seconds")
    ] = 6.0
    connect_retry_jitter_ratio: Annotated[
        float, Field(ge=0, le=1, description="the share by which these seconds vary")
    ] = 0.2
    reconnect_on_send_error_max_attempts: Annotated[
        int,
        Field(
            ge=0, description="as connect_retry_max_attempts, not counting the first; more counts"
        ),
    ] = 2

    @property
    def retries(self) -> int:
        return max(self.connect_retry_max_attempts - 1, self.reconnect_on_send_error_max_attempts)

    def pause_s(self, attempt: int) -> float:
        """Before the repetition of this number, 0 for the first."""
        pause_s = self.connect_retry_base_delay_sec * float(2**attempt)
        jitter = random.uniform(-1, 1) * self.connect_retry_jitter_ratio
        return min(pause_s, self.connect_retry_max_delay_sec) * (1 + jitter)


class Qwen3ASRFlashRealtime(ASR):
    """Recognition while somebody speaks. ModelError when the service fails.

    A segment is kept until something of it was understood, so that a connection that dies
    loses nothing.
    """

    def __init__(
        self,
        api_key: Annotated[
            SecretStr | None, Field(description="of DashScope; else DASHSCOPE_API_KEY")
        ] = None,
        config: Annotated[
            Qwen3ASRFlashConfig | None, Field(description="a table, see below")
        ] = None,
    ) -> None:
        self._key = SecretStr(read_key("Qwen3ASRFlashRealtime", api_key, "DASHSCOPE_API_KEY"))
        self._config = config = config or Qwen3ASRFlashConfig()
        self._remote = Remote(
            name="Qwen3-ASR",
            check=CHECK,
            reach=REACH,
            timeout_s=config.final_wait_timeout_sec,
            retries=config.retries,
            pause_s=config.pause_s,
        )
        self._socket = WarmSocket(self._connect)

    async def open(self) -> None:
        self._socket.warm()

    async def close(self) -> None:
        await self._socket.close()

    def clone(self) -> Qwen3ASRFlashRealtime:
        twin = copy.copy(self)
        twin._socket = WarmSocket(twin._connect)
        return twin

    def reset(self) -> None:
        """Nothing to forget: each segment is a request of its own."""

    def stream_chunk_bytes_hint(self) -> int:
        return self._config.stream_chunk_bytes_hint

    def recognize(self, audio: bytes) -> str:
        return blocking(self._apart(audio))

    async def _apart(self, audio: bytes) -> str:
        """The text over a connection of its own, for another event loop."""
        twin = self.clone()
        try:
            return await twin.async_recognize(audio)
        finally:
            await twin.close()

    async def async_recognize(self, audio: bytes) -> str:
        async def frames() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(audio, RATE_IN)

        text = ""
        async with aclosing(self.transcribe(frames())) as transcripts:
            async for transcript in transcripts:
                text = transcript.text
        return text

    async def transcribe(
        self, frames: AsyncIterator[AudioFrame]
    ) -> AsyncGenerator[Transcript, None]:
        """Partial transcripts as the service has them, then a final one.

        Without audio the text is "", and nothing is asked.
        """
        async with Replay(frames) as spoken:
            if not await is_audible(spoken):
                yield Transcript(text="", final=True)
                return
            asked = self._remote.stream(lambda: self._segment(spoken), spoken=spoken)
            async with aclosing(asked) as transcripts:
                async for transcript in transcripts:
                    yield transcript

    # --- one segment ----------------------------------------------------------------------------

    async def _segment(self, spoken: Replay[AudioFrame]) -> AsyncGenerator[Transcript, None]:
        """What is understood; ends when the service has said its last word on the segment."""
        heard = Heard()
        async with (
            self._socket.once() as connection,
            aclosing(exchange(connection, self._messages(spoken))) as answers,
        ):
            while (event := _event(await anext(answers)))["type"] != "session.finished":
                if heard.take(event):
                    yield heard.transcript()
            yield heard.transcript(final=True)

    async def _messages(self, spoken: Replay[AudioFrame]) -> AsyncGenerator[str, None]:
        async with aclosing(self._chunks(spoken)) as chunks:
            async for chunk in chunks:
                yield _append(chunk)
                if self._config.send_delay_sec:
                    await anyio.sleep(self._config.send_delay_sec)
        for message in self._silence() if self._config.enable_turn_detection else (_commit(),):
            yield message
        yield _message("session.finish")

    def _silence(self) -> Iterator[str]:
        """Speech that the service has not noticed yet would be lost with `session.finish`."""
        for _ in range(self._config.tail_silence_cycles):
            yield _append(bytes(self._config.tail_silence_bytes_per_cycle))

    async def _chunks(self, spoken: Replay[AudioFrame]) -> AsyncGenerator[bytes, None]:
        """The audio at the service's rate, in chunks of about the configured length."""
        resampler = Resampler(RATE_IN, self._config.sample_rate)
        waiting = b""
        async for frame in spoken:
            waiting += resampler.push(frame.pcm)
            if len(waiting) >= self._config.stream_chunk_bytes_hint:
                for start in range(0, len(waiting), MOST_BYTES):
                    yield waiting[start : start + MOST_BYTES]
                waiting = b""
        waiting += resampler.flush()
        if waiting:
            yield waiting

    # --- the connection -------------------------------------------------------------------------

    async def _connect(self) -> ClientConnection:
        """A connection whose session is set up."""
        return await open_socket(
            f"{self._config.url}?{urlencode({'model': self._config.model})}",
            headers={"Authorization": f"Bearer {self._key.get_secret_value()}"},
            timeout_s=min(CONNECT_S, self._remote.timeout_s),
            greet=self._greet,
        )

    async def _greet(self, connection: ClientConnection) -> None:
        await self._told(connection, "session.created")
        await connection.send(_message("session.update", session=self._session()))
        await self._told(connection, "session.updated")

    def _session(self) -> dict[str, Any]:
        config = self._config
        detection = {
            "type": "server_vad",
            "threshold": config.turn_detection_threshold,
            "prefix_padding_ms": 300,
            "silence_duration_ms": config.turn_detection_silence_ms,
        }
        return {
            "modalities": ["text"],
            "input_audio_format": config.input_audio_format,
            "sample_rate": config.sample_rate,
            "input_audio_transcription": {"language": config.language} if config.language else {},
            "turn_detection": detection if config.enable_turn_detection else None,
        }

    async def _told(self, connection: ClientConnection, kind: str) -> None:
        while _event(await self._remote.within(connection.recv()))["type"] != kind:
            pass


def _append(audio: bytes) -> str:
    return _message("input_audio_buffer.append", audio=base64.b64encode(audio).decode())


def _commit() -> str:
    return _message("input_audio_buffer.commit")


def _message(kind: str, **content: Any) -> str:
    return json.dumps({"event_id": f"event_{uuid.uuid4().hex}", "type": kind, **content})


def _event(answer: str | bytes) -> dict[str, Any]:
    """An event of the service; Refusal when it tells of a failure."""
    event = json.loads(answer)
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise Unreadable("event")
    if event["type"] == "error" or event["type"].endswith(".failed"):
        error = event.get("error")
        error = error if isinstance(error, dict) else {}
        raise Refusal(_status(error), str(error.get("code") or ""))
    return event


def _status(error: dict[str, Any]) -> int:
    """The status of HTTP that comes nearest to the service's word for a failure."""
    code = "".join(filter(str.isalnum, str(error.get("code") or ""))).lower()
    for beginning, status in STATUSES.items():
        if code.startswith(beginning):
            return status
    return 400 if error.get("type") == "invalid_request_error" else 500
