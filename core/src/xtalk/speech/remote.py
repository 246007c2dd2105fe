"""What is the same in every voice whose service speaks HTTP, and in recognisers of services.

RemoteVoice    a voice behind HTTP
redecoded      partial and final texts by a service that knows whole recordings only
Growth         when such a recording, still growing, is worth another partial text
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from xtalk.audio import RATE_IN, AudioFrame
from xtalk.errors import ModelError
from xtalk.remote import Remote, Replay, Shared, blocking, http_client
from xtalk.speech.interfaces import TTS, SpeechChunk, Transcript
from xtalk.wav import WavStream

if TYPE_CHECKING:
    import httpx

__all__ = [
    "Growth",
    "RemoteVoice",
    "give_up",
    "is_audible",
    "redecoded",
    "speakable",
    "wav_answer",
]

V = TypeVar("V", bound="RemoteVoice")

PARTIAL_S = 1.0  # the least after which a whole recording is decoded again
SHARE = 0.2  # of the time, for partials of whole recordings

# Control characters, which some services refuse or read aloud, and lone halves of a surrogate
# pair, which no encoding knows.
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


async def is_audible(spoken: Replay[AudioFrame]) -> bool:
    """Whether any sound comes. Waits for the first."""
    async for frame in spoken:
        if frame.pcm:
            return True
    return False


async def redecoded(
    pieces: AsyncIterable[bytes], decode: Callable[[bytes], Coroutine[Any, Any, Transcript]]
) -> AsyncGenerator[Transcript, None]:
    """Partial texts while `pieces` come (PCM16 at 16 kHz), then the final one of all of them.

    `decode` asks for the text of a recording from its beginning. For a partial text it does so
    beside the listening, once at a time; when that fails it is no loss, for the final text is
    still to come, which waits for none of them. A tag judges what is over: no partial has one.
    """
    pcm = bytearray()
    beside = _Beside(decode)
    text = ""
    try:
        async for piece in pieces:
            pcm += piece
            partial = beside.push(pcm)
            if partial is not None and partial.text != text:
                text = partial.text
                yield replace(partial, tag=None)
    finally:
        await beside.give_up()
    yield replace(await decode(bytes(pcm)), final=True)


class Growth:
    """When a whole recording is decoded again for a partial text.

    After a second, then each time it has grown by half: by a second each time, the cost would grow
    with the square of the length. One that takes long, `took_s`, is repeated more rarely, for a
    fifth of the time.
    """

    def __init__(self) -> None:
        self.took_s = 0.0
        self._decoded = 0

    def is_due(self, size: int) -> bool:
        """Whether a recording of this many bytes is to be decoded; then it counts as decoded."""
        least_s = max(PARTIAL_S, self.took_s / SHARE)
        if size - self._decoded < max(2 * RATE_IN * least_s, self._decoded / 2):
            return False
        self._decoded = size
        return True


class _Beside:
    """Partial texts of a recording that grows, each found beside the listening."""

    def __init__(self, decode: Callable[[bytes], Coroutine[Any, Any, Transcript]]) -> None:
        self._decode = decode
        self._growth = Growth()
        self._task: asyncio.Task[Transcript] | None = None

    def push(self, pcm: bytearray) -> Transcript | None:
        """What was found meanwhile, once; and decode all that there is if that is due."""
        found = self._found()
        if self._task is None and self._growth.is_due(len(pcm)):
            self._task = asyncio.get_running_loop().create_task(self._timed(bytes(pcm)))
        return found

    async def give_up(self) -> None:
        if self._task is not None:
            await give_up(self._task)

    def _found(self) -> Transcript | None:
        if self._task is None or not self._task.done():
            return None
        task, self._task = self._task, None
        try:
            return task.result()
        except ModelError:  # in the log, and the final one tells
            return None

    async def _timed(self, pcm: bytes) -> Transcript:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._decode(pcm)
        finally:
            self._growth.took_s = loop.time() - began


async def give_up(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end; how it ended nobody wants to know."""
    task.cancel()
    with anyio.CancelScope(shield=True):
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # or asyncio would complain that nobody asked for it


def speakable(text: str) -> str:
    """The text without what no service can say; "" when that leaves no letter and no digit."""
    said = _UNSPEAKABLE.sub(" ", text).strip()
    return said if any(map(str.isalnum, said)) else ""


async def wav_answer(response: httpx.Response, rate: int) -> AsyncGenerator[AudioFrame, None]:
    """The sound of an answer that is a WAV file, at `rate` Hz, while it arrives.

    AudioError when it is none.
    """
    wav = WavStream("the answer", rate)
    arriving: Any = response.aiter_bytes()  # a generator, though httpx does not say so
    async with aclosing(arriving) as pieces:
        async for piece in pieces:
            for frame in wav.push(piece):
                yield frame
    for frame in wav.end():
        yield frame


class RemoteVoice(TTS):
    """A voice behind a service. A subclass says in `request` how to ask for a text.

    All clones use one pool of connections, `self.http`. Calls that block bring a loop of their
    own and leave the session's connections alone.
    """

    def __init__(self, remote: Remote, *, output_rate: int) -> None:
        self.remote = remote
        self.output_rate = output_rate
        self.http = Shared(lambda: http_client(timeout_s=remote.timeout_s))

    def request(self, text: str) -> AsyncGenerator[bytes | AudioFrame | SpeechChunk, None]:
        """One attempt to have this text spoken, which `speakable` has let pass."""
        raise NotImplementedError

    async def open(self) -> None:
        await self.http.hold(self)

    async def close(self) -> None:
        await self.http.release(self)

    def clone(self: V) -> V:
        return copy.copy(self)

    def synthesize(self, text: str) -> bytes:
        return blocking(self.clone()._alone(text))

    async def async_synthesize(self, text: str, **kwargs: Any) -> bytes:
        async with aclosing(self.async_synthesize_stream(text)) as pieces:
            whole = b"".join([_pcm(piece) async for piece in pieces])
        return whole[: len(whole) & ~1]

    async def async_synthesize_stream(
        self, text: str, **kwargs: Any
    ) -> AsyncGenerator[bytes | AudioFrame | SpeechChunk, None]:
        said = speakable(text)
        if not said:
            return
        async with aclosing(self.remote.stream(lambda: self.request(said))) as pieces:
            async for piece in pieces:
                yield piece

    async def _alone(self, text: str) -> bytes:
        await self.open()
        try:
            return await self.async_synthesize(text)
        finally:
            await self.close()


def _pcm(piece: bytes | AudioFrame | SpeechChunk) -> bytes:
    if isinstance(piece, SpeechChunk):
        return piece.audio.pcm
    return piece.pcm if isinstance(piece, AudioFrame) else piece
