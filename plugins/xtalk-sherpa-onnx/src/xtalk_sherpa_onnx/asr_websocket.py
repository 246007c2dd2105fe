"""The WebSocket servers of sherpa-onnx: a connection a session, sound as it comes."""

from __future__ import annotations

import asyncio
import copy
import math
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from xtalk.audio import RATE_IN, AudioFrame, Resampler, pcm_to_float
from xtalk.remote import Remote, Unreadable, WarmSocket, blocking, drop, exchange, open_socket
from xtalk.speech.interfaces import ASR, Transcript
from xtalk_sherpa_onnx.replies import DONE, Segments, read
from xtalk_sherpa_onnx.segments import Growth

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["SherpaOnnxASR"]

Mode = Literal["streaming", "online", "offline", "non_streaming", "non-streaming"]


class SherpaOnnxASR(ASR):
    """A server of sherpa-onnx, in C++ or Python.

    Streaming: sound goes out as it comes and text comes back meanwhile, over one connection,
    which the C++ server lets the next segment use too; the Python server closes it, and the next
    is made ahead. Offline: a segment is asked for when it is over, and for partials whenever it
    has grown by half. A segment whose connection breaks before any text came is sent again.
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
            float, Field(gt=0, description="Longest wait for the server once all is sent")
        ] = 10.0,
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
        utterance = _Utterance(frames)
        transcripts = self._streamed(utterance) if self._streams else self._asked(utterance)
        text = ""
        try:
            async with aclosing(transcripts):
                async for transcript in transcripts:
                    if transcript.final or transcript.text != text:
                        text = transcript.text
                        yield transcript
        finally:
            await utterance.close()

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

    async def _streamed(self, utterance: _Utterance) -> AsyncGenerator[Transcript, None]:
        # While somebody speaks nothing need come back: `exchange` limits the wait at the end.
        patient = replace(self._remote, timeout_s=math.inf)
        async with aclosing(patient.stream(lambda: self._attempt(utterance))) as transcripts:
            async for transcript in transcripts:
                yield transcript

    async def _attempt(self, utterance: _Utterance) -> AsyncGenerator[Transcript, None]:
        """The segment over one connection, from its start."""
        if not await utterance.begun():
            yield Transcript(text="", final=True)
            return
        try:
            connection = await self._sockets.take()
            async with aclosing(self._conversation(connection, utterance)) as transcripts:
                async for transcript in transcripts:
                    yield transcript
        except TimeoutError as error:
            raise self._remote.failed(error) from None

    async def _conversation(
        self, connection: ClientConnection, utterance: _Utterance
    ) -> AsyncGenerator[Transcript, None]:
        segments = Segments()
        try:
            sound = utterance.messages(self._samples)
            answers = exchange(connection, sound, timeout_s=self._remote.timeout_s)
            async with aclosing(_until_done(answers, utterance, segments)) as messages:
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

    # --- an offline server ----------------------------------------------------------------------

    async def _asked(self, utterance: _Utterance) -> AsyncGenerator[Transcript, None]:
        growth = Growth()
        while await utterance.grow():
            if growth.is_due(len(utterance.pcm)):
                with growth.decoding():
                    transcript = await self._decoded(bytes(utterance.pcm))
                yield transcript
        yield replace(await self._decoded(bytes(utterance.pcm)), final=True)

    async def _decoded(self, pcm: bytes) -> Transcript:
        if not pcm:  # the C++ server does not bear a recording of no length
            return Transcript(text="")
        return await self._remote.call(lambda: self._ask(pcm))

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
    answers: AsyncGenerator[str | bytes, None], utterance: _Utterance, segments: Segments
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
            if not utterance.sent:
                raise


class _Utterance:
    """The sound of a segment, kept so that another connection can be given all of it."""

    def __init__(self, frames: AsyncIterator[AudioFrame]) -> None:
        self.pcm = bytearray()  # at 16 kHz
        self.sent = False  # whether the server knows that it is over
        self._frames = frames
        self._resampler: Resampler | None = None
        self._ended = False
        self._next: asyncio.Task[AudioFrame | None] | None = None

    async def begun(self) -> bool:
        """Whether there is any sound, once that is known."""
        while not self.pcm and await self.grow():
            pass
        return bool(self.pcm)

    async def grow(self) -> bool:
        """Wait for more sound; False when there will be none. May be cancelled and repeated."""
        if self._ended:
            return False
        if self._next is None:
            self._next = asyncio.ensure_future(self._frame())
        frame = await asyncio.shield(self._next)  # cancelling it would end the frames
        self._next = None
        if frame is None:
            self._ended = True
            self.pcm += self._resampler.flush() if self._resampler else b""
            return False
        if self._resampler is None:
            self._resampler = Resampler(frame.rate, RATE_IN)
        self.pcm += self._resampler.push(frame.pcm)
        return True

    async def messages(self, samples: int) -> AsyncGenerator[str | bytes, None]:
        """All of it from the start, each piece as soon as it is there, then that it is over."""
        self.sent = False
        at, growing = 0, True
        while growing or at < len(self.pcm):
            if at == len(self.pcm):
                growing = await self.grow()
                continue
            piece = bytes(self.pcm[at : at + 2 * samples])
            at += len(piece)
            yield _samples(piece)
        self.sent = True
        yield "Done"

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})

    async def _frame(self) -> AudioFrame | None:
        return await anext(self._frames, None)


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
