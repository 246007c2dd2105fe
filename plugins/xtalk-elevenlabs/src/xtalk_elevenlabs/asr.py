"""Recognition by ElevenLabs Scribe: over a WebSocket while one speaks, or over HTTP afterwards."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlencode

import anyio
from pydantic import BaseModel, Field

from xtalk.audio import RATE_IN, AudioFrame
from xtalk.clauses import joined
from xtalk.remote import (
    FINAL_S,
    Refusal,
    Replay,
    Shared,
    Unreadable,
    WarmSocket,
    blocking,
    exchange,
    http_client,
    open_socket,
)
from xtalk.speech.interfaces import ASR, Transcript, Word
from xtalk_elevenlabs import service

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["ElevenLabsASR"]

SECOND = 2 * RATE_IN  # bytes
LEAST = SECOND // 10  # of a message
MOST = SECOND
COMMITTED = SECOND * 3 // 10  # the service commits no less than 0.3 s
REALTIME = "scribe_v2_realtime"

# Nothing tells a commit that the service made by itself from the answer to ours. As long as one
# speaks and is heard at once, the last one holds all. Of audio that came faster than that, such
# as a whole recording, several may be under way: then it is over when no more come.
AHEAD_S = 1.0
SETTLE_S = 1.0
LONG_S = 80.0  # from 90 s on the service commits by itself also in manual mode


class ElevenLabsASR(ASR):
    """ElevenLabs Scribe.

    Streaming, each segment has a connection of its own, made ahead, so that nothing of one can
    be taken for the next. Offline, a segment is sent once, when it is over.
    """

    def __init__(
        self,
        api_key: service.ApiKey = None,
        mode: Annotated[
            Literal["offline", "streaming"],
            Field(description="streaming recognises while one speaks"),
        ] = "offline",
        model_id: Annotated[
            str, Field(description=f"streaming, a model that is not for it gives way to {REALTIME}")
        ] = "scribe_v1",
        language_code: Annotated[
            str | None, Field(description="such as en; without it the service finds out")
        ] = None,
        base_url: Annotated[str, Field(description="where it is asked offline")] = service.HTTP,
        realtime_url: Annotated[
            str, Field(description="where it is asked streaming")
        ] = service.WEBSOCKET,
        commit_strategy: Annotated[
            Literal["manual", "vad"],
            Field(description="whether the service also ends pieces of a segment at pauses"),
        ] = "manual",
        include_timestamps: Annotated[
            bool, Field(description="when each word sounds, streaming")
        ] = False,
        include_language_detection: Annotated[
            bool, Field(description="which language it was, streaming")
        ] = False,
        enable_logging: Annotated[
            bool | None, Field(description="whether the service may keep what was said")
        ] = None,
        mock_window_size: Annotated[
            int,
            Field(description="of the original; nothing is sent twice here, so without effect"),
        ] = 5,
        request_timeout: Annotated[
            float, Field(gt=0, description="seconds that an answer may take when all was said")
        ] = FINAL_S,
        always_commit_stream: Annotated[
            bool, Field(description="of the original; a segment is always committed at its end")
        ] = True,
    ) -> None:
        self._remote = service.remote(request_timeout)
        self._headers = service.headers(api_key)
        self._http_url = service.address("base_url", base_url, "http", "https")
        self._socket_url = service.address("realtime_url", realtime_url, "ws", "wss")
        self._streaming = mode == "streaming"
        self._by_pauses = commit_strategy == "vad"
        self._timed = include_timestamps or include_language_detection
        self._language = language_code
        self._logging = enable_logging
        self._model = REALTIME if self._streaming and "realtime" not in model_id else model_id
        self._options = service.query(
            model_id=self._model,
            audio_format=f"pcm_{RATE_IN}",
            commit_strategy=commit_strategy,
            language_code=language_code,
            include_timestamps=True if self._timed else None,
            include_language_detection=True if include_language_detection else None,
            enable_logging=enable_logging,
        )
        self._http = Shared(lambda: http_client(timeout_s=request_timeout))
        self._socket = WarmSocket(self._connect)

    # --- its life -------------------------------------------------------------------------------

    async def open(self) -> None:
        if self._streaming:
            self._socket.warm()
        await self._http.hold(self)

    async def close(self) -> None:
        await self._socket.close()
        await self._http.release(self)

    def clone(self) -> ElevenLabsASR:
        twin = copy.copy(self)
        twin._socket = WarmSocket(twin._connect)
        return twin

    def reset(self) -> None:
        """Nothing: a segment is known to `transcribe` alone."""

    # --- recognition ----------------------------------------------------------------------------

    def recognize(self, audio: bytes) -> str:
        return blocking(self.clone()._alone(audio))

    async def async_recognize(self, audio: bytes) -> str:
        text = ""
        async with aclosing(self.transcribe(_once(audio))) as transcripts:
            async for transcript in transcripts:
                text = transcript.text
        return text

    async def transcribe(
        self, frames: AsyncIterator[AudioFrame]
    ) -> AsyncGenerator[Transcript, None]:
        heard = self._heard_live(frames) if self._streaming else self._heard_afterwards(frames)
        async with aclosing(heard) as transcripts:
            async for transcript in transcripts:
                yield transcript

    async def _alone(self, audio: bytes) -> str:
        await self.open()
        try:
            return await self.async_recognize(audio)
        finally:
            await self.close()

    # --- offline --------------------------------------------------------------------------------

    async def _heard_afterwards(
        self, frames: AsyncIterator[AudioFrame]
    ) -> AsyncGenerator[Transcript, None]:
        pcm = b"".join([frame.pcm async for frame in frames])
        if pcm:
            remote = self._remote.patient(len(pcm) / SECOND)
            yield await remote.call(lambda: self._posted(pcm, remote.timeout_s))
        else:
            yield Transcript(text="", final=True)

    async def _posted(self, pcm: bytes, limit_s: float) -> Transcript:
        asked = service.query(
            model_id=self._model, file_format="pcm_s16le_16", language_code=self._language
        )
        async with self._http.use() as client:
            response = await client.post(
                f"{self._http_url}/v1/speech-to-text",
                params=service.query(enable_logging=self._logging),
                headers=self._headers,
                data=asked,
                files={"file": ("audio.pcm", pcm, "application/octet-stream")},
                timeout=limit_s,
            )
            answer = (await service.admitted(response)).json()
        whole = isinstance(answer, dict) and "transcripts" not in answer
        parts = [service.read(Text, answer)] if whole else service.read(Texts, answer).transcripts
        text = _join(part.text.strip() for part in parts)
        words = tuple(word for part in parts for word in _words(part))
        return _final(text, words, parts[0].language_code if parts else None)

    # --- streaming ------------------------------------------------------------------------------

    async def _heard_live(
        self, frames: AsyncIterator[AudioFrame]
    ) -> AsyncGenerator[Transcript, None]:
        async with Replay(frames) as spoken:
            try:
                await spoken.at(0)
            except StopAsyncIteration:
                yield Transcript(text="", final=True)
                return
            asked = self._remote.stream(lambda: self._asked(spoken), spoken=spoken)
            async with aclosing(asked) as transcripts:
                async for transcript in transcripts:
                    yield transcript

    async def _asked(self, spoken: Replay[AudioFrame]) -> AsyncGenerator[Transcript, None]:
        segment = _Segment(self._timed)
        async with (
            self._socket.once() as connection,
            aclosing(exchange(connection, self._messages(spoken, segment))) as answers,
        ):
            while not segment.over:
                with anyio.move_on_after(SETTLE_S if segment.settling else None) as waiting:
                    transcript = segment.push(await anext(answers))
                if waiting.cancelled_caught:
                    transcript = segment.end()
                if transcript is not None:
                    yield transcript

    async def _messages(
        self, spoken: Replay[AudioFrame], segment: _Segment
    ) -> AsyncGenerator[str | bytes, None]:
        """The audio as it comes, and at its end so much silence that it can be committed."""
        began = asyncio.get_running_loop().time()  # what was said before it waited, and goes now
        sent = 0
        async with aclosing(_pieces(spoken)) as pieces:
            async for piece in pieces:
                yield _chunk(piece)
                sent += len(piece)
        sent_s = sent / SECOND
        ahead_s = sent_s - (asyncio.get_running_loop().time() - began)
        several = ahead_s > AHEAD_S and (self._by_pauses or sent_s > LONG_S)
        segment.ending = "perhaps" if several else "with the next"
        # What the service has committed at a pause counts no more.
        silence = bytes(COMMITTED if self._by_pauses else max(0, COMMITTED - sent))
        yield _chunk(silence, commit=True)

    async def _connect(self) -> ClientConnection:
        return await open_socket(
            f"{self._socket_url}/v1/speech-to-text/realtime?{urlencode(self._options)}",
            headers=self._headers,
            timeout_s=min(5.0, self._remote.timeout_s),
            greet=self._greeted,
        )

    async def _greeted(self, connection: ClientConnection) -> None:
        first = service.message(await self._remote.within(connection.recv()))
        if first.get("message_type") != "session_started":
            raise Unreadable("session")


class TimedText(BaseModel):
    """A word, or what stands between two."""

    text: str
    type: str = "word"
    start: float | None = None
    end: float | None = None


class Text(BaseModel):
    """What the service has understood of all that it was sent, or of a piece of it."""

    text: str
    words: list[TimedText] | None = None
    language_code: str | None = None


class Texts(BaseModel):
    """The same of each of several channels."""

    transcripts: list[Text]


class _Segment:
    """What was understood of one segment: committed pieces, and what may still change.

    `ending` is set when all was sent: the segment ends with the next commit, or perhaps with a
    later one. `settling`, it ends when no more come.
    """

    def __init__(self, timed: bool) -> None:
        self.ending: Literal["", "with the next", "perhaps"] = ""
        self.settling = False
        self.over = False
        self._committed = ""
        self._words: tuple[Word, ...] = ()
        self._language: str | None = None
        # With times the service tells each commit twice, and the second time all of it.
        self._commit = "committed_transcript" + "_with_timestamps" * timed

    def push(self, answer: str | bytes) -> Transcript | None:
        """The transcript after one message, if that changes it."""
        try:
            said = service.message(answer)
        except Refusal as refusal:
            if refusal.code == "commit_throttled" and self.ending:
                return self.end()  # nothing came after the last pause
            raise
        if said.get("message_type") == "partial_transcript":
            text = joined(self._committed, service.read(Text, said).text.strip())
            return Transcript(text=text, stable=len(self._committed))
        if said.get("message_type") == self._commit:
            return self._push_commit(service.read(Text, said))
        return None

    def _push_commit(self, said: Text) -> Transcript:
        text = said.text.strip()
        self._committed = joined(self._committed, text)
        self._words += tuple(_words(said))
        self._language = said.language_code or self._language
        # The service commits nothing by itself where nothing was said: then this is ours.
        if self.ending == "with the next" or (self.ending and not text):
            return self.end()
        self.settling = bool(self.ending)
        return Transcript(text=self._committed, stable=len(self._committed))

    def end(self) -> Transcript:
        """The final transcript."""
        self.over = True
        return _final(self._committed, self._words, self._language)


def _final(text: str, words: tuple[Word, ...], language: str | None) -> Transcript:
    return Transcript(text=text, final=True, words=words, lang=language, stable=len(text))


def _words(said: Text) -> Iterable[Word]:
    for word in said.words or ():
        if word.type == "word" and word.start is not None and word.end is not None:
            yield Word(text=word.text, start=word.start, end=word.end)


def _join(parts: Iterable[str]) -> str:
    text = ""
    for part in parts:
        text = joined(text, part)
    return text


def _chunk(pcm: bytes, *, commit: bool = False) -> str:
    return json.dumps(
        {
            "message_type": "input_audio_chunk",
            "audio_base_64": base64.b64encode(pcm).decode(),
            "commit": commit,
            "sample_rate": RATE_IN,
        }
    )


async def _pieces(spoken: Replay[AudioFrame]) -> AsyncGenerator[bytes, None]:
    """The audio in pieces of 0.1 to 1 s; the last may be shorter."""
    waiting = b""
    async for frame in spoken:
        waiting += frame.pcm
        while len(waiting) >= LEAST:
            yield waiting[:MOST]
            waiting = waiting[MOST:]
    if waiting:
        yield waiting


async def _once(audio: bytes) -> AsyncGenerator[AudioFrame, None]:
    if audio:
        yield AudioFrame(audio, RATE_IN)
