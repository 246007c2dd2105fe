"""The WebSocket servers of sherpa-onnx: a connection a session, sound as it comes."""

from __future__ import annotations

import asyncio
import copy
import struct
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from xtalk.audio import RATE_IN, AudioFrame, Resampler, pcm_to_float
from xtalk.remote import (
    FINAL_S,
    Remote,
    Replay,
    Unreadable,
    WarmSocket,
    blocking,
    drop,
    exchange,
    open_socket,
)
from xtalk.speech.interfaces import ASR, Transcript
from xtalk.speech.remote import is_audible, redecoded
from xtalk_sherpa_onnx.replies import DONE, Segments, read

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["SherpaOnnxASR"]

Mode = Literal["streaming", "online", "offline", "non_streaming", "non-streaming"]


class SherpaOnnxASR(ASR):
    """A server of sherpa-onnx, in C++ or Python.

    Streaming: sound goes out as it comes and text comes back meanwhile, over one connection,
    which the C++ server lets the next segment use too; the Python server closes it, and the next
    is made ahead. Offline: a segment is asked for when it is over, and beside the listening for
    partials whenever it has grown by half, which the final text does not wait for. A segment whose
    connection breaks before any text came is sent again.
    """

    def __init__(
        self,
        *,
        host: Annotated[
            str, Field(description="Where the server runs; wss://name for one behind TLS")
        ] = "localhost",
        port: Annotated[int, Field(ge=1, le=65535, description="Its port")] = 6006,
        mode: Annotated[
            Mode, Field(description="Which server it is: streaming (online) or offline")
        ] = "streaming",
        samples_per_message: Annotated[
            int, Field(ge=1, description="The most in one message; less goes out when it is there")
        ] = 8000,
        seconds_per_message: Annotated[
            float, Field(ge=0, description="Of the original; without effect, nothing is delayed")
        ] = 0.0,
        offline_payload_len: Annotated[
            int, Field(ge=8, description="The most bytes in one message to an offline server")
        ] = 10240,
        mock_window_size: Annotated[
            int, Field(description="Of the original; without effect here")
        ] = 5,
        server_addr: Annotated[str | None, Field(description="Another name of `host`")] = None,
        server_port: Annotated[
            int | None, Field(ge=1, le=65535, description="Another name of `port`")
        ] = None,
        timeout_s: Annotated[
            float, Field(gt=0, description="Longest wait for the final text when all was said")
        ] = FINAL_S,
    ) -> None:
        self._url = _url(server_addr or host, server_port or port)
        self._streams = mode in ("streaming", "online")
        self._samples = samples_per_message
        self._payload = offline_payload_len
        self._remote = Remote(
            name="The sherpa-onnx server",
            check="check that it runs at the configured host and port, and in the configured mode",
            timeout_s=timeout_s,
        )
        self._sockets = WarmSocket(self._connect)

    def clone(self) -> SherpaOnnxASR:
        other = copy.copy(self)
        other.__dict__.pop("_segment", None)
        other._sockets = WarmSocket(other._connect)
        return other

    async def open(self) -> None:
        """Begin to connect, so that the first segment need not wait for it."""
        self._sockets.warm()

    async def close(self) -> None:
        await self._sockets.close()

    def reset(self) -> None:
        self.__dict__.pop("_segment", None)

    async def _connect(self) -> ClientConnection:
        return await open_socket(self._url, timeout_s=self._remote.timeout_s)

    # --- what may be called ---------------------------------------------------------------------

    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        """Partials as the text changes, then one final. ModelError in words when it fails."""
        transcripts = self._streamed(frames) if self._streams else self._asked(frames)
        text = ""
        async with aclosing(transcripts):
            async for transcript in transcripts:
                if transcript.final or transcript.text != text:
                    text = transcript.text
                    yield transcript

    async def async_recognize(self, audio: bytes) -> str:
        frame = AudioFrame(audio, RATE_IN).check()
        async with aclosing(self.transcribe(_frames(frame))) as transcripts:  # type: ignore[type-var]
            return [transcript async for transcript in transcripts][-1].text

    def recognize(self, audio: bytes) -> str:
        return blocking(self.clone()._alone(audio))

    async def _alone(self, audio: bytes) -> str:
        try:
            return await self.async_recognize(audio)
        finally:
            await self.close()

    # --- a streaming server ---------------------------------------------------------------------

    async def _streamed(
        self, frames: AsyncIterator[AudioFrame]
    ) -> AsyncGenerator[Transcript, None]:
        async with Replay(frames) as spoken:
            if not await is_audible(spoken):
                yield Transcript(text="", final=True)
                return
            asked = self._remote.stream(lambda: self._attempt(spoken), spoken=spoken)
            async with aclosing(asked) as transcripts:
                async for transcript in transcripts:
                    yield transcript

    async def _attempt(self, spoken: Replay[AudioFrame]) -> AsyncGenerator[Transcript, None]:
        """The segment over one connection, from its start."""
        connection = await self._sockets.take()
        segments, sent = Segments(), asyncio.Event()
        try:
            answers = exchange(connection, self._messages(spoken, sent))
            async with aclosing(_until_done(answers, sent, segments)) as messages:
                async for message in messages:
                    transcript = segments.take(read(message))
                    if transcript.text:
                        yield transcript
        except Exception:
            drop(connection)
            raise
        except BaseException:  # given up, not failed: the next segment comes soon
            drop(connection)
            self._sockets.warm()
            raise
        if segments.complete and connection.state.name == "OPEN":
            self._sockets.keep(connection)
        else:
            drop(connection)
            self._sockets.warm()
        yield replace(segments.whole(), final=True)

    async def _messages(
        self, spoken: Replay[AudioFrame], sent: asyncio.Event
    ) -> AsyncGenerator[str | bytes, None]:
        """The sound as it comes, then that it is over."""
        size = 2 * self._samples
        async with aclosing(_resampled(spoken)) as pieces:
            async for pcm in pieces:
                for start in range(0, len(pcm), size):
                    yield _samples(pcm[start : start + size])
        sent.set()
        yield "Done"

    # --- an offline server ----------------------------------------------------------------------

    async def _asked(self, frames: AsyncIterator[AudioFrame]) -> AsyncGenerator[Transcript, None]:
        async with (
            aclosing(_resampled(frames)) as pieces,
            aclosing(redecoded(pieces, self._decoded)) as transcripts,
        ):
            async for transcript in transcripts:
                yield transcript

    async def _decoded(self, pcm: bytes) -> Transcript:
        if not pcm:  # the C++ server does not bear a recording of no length
            return Transcript(text="")
        remote = self._remote.patient(len(pcm) / (2 * RATE_IN))
        return await remote.call(lambda: self._ask(pcm))

    async def _ask(self, pcm: bytes) -> Transcript:
        connection = await self._sockets.take()
        try:
            for message in _recording(pcm, self._payload):
                await connection.send(message)
            transcript = read(await connection.recv()).transcript()
        except BaseException:  # an answer that is still to come would be taken for the next one
            drop(connection)
            raise
        self._sockets.keep(connection)
        return transcript


async def _until_done(
    answers: AsyncGenerator[str | bytes, None], sent: asyncio.Event, segments: Segments
) -> AsyncGenerator[str | bytes, None]:
    """The answers to the segment: the C++ server says when they end, the Python one closes."""
    from websockets.exceptions import ConnectionClosedOK

    async with aclosing(answers):
        try:
            async for answer in answers:
                if answer == DONE:
                    return
                yield answer
        except ConnectionClosedOK:
            if not segments.heard:
                raise Unreadable("text before it closed the connection") from None
            if not sent.is_set():
                raise


async def _resampled(frames: AsyncIterable[AudioFrame]) -> AsyncGenerator[bytes, None]:
    """PCM16 at 16 kHz as it comes."""
    resampler: Resampler | None = None
    async for frame in frames:
        resampler = resampler or Resampler(frame.rate, RATE_IN)
        yield resampler.push(frame.pcm)
    if resampler is not None:
        yield resampler.flush()


def _url(host: str, port: int) -> str:
    return f"{host}:{port}" if "://" in host else f"ws://{host}:{port}"


def _samples(pcm: bytes) -> bytes:
    """PCM16 as the servers take it: float32, little-endian."""
    return pcm_to_float(pcm).astype("<f4").tobytes()


def _recording(pcm: bytes, size: int) -> list[bytes]:
    """Rate and length in bytes, then the samples, cut into messages."""
    samples = _samples(pcm)
    data = struct.pack("<ii", RATE_IN, len(samples)) + samples
    return [data[start : start + size] for start in range(0, len(data), size)]


async def _frames(frame: AudioFrame) -> AsyncIterator[AudioFrame]:
    yield frame
