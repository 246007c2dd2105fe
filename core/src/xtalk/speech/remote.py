"""What is the same in every voice whose service speaks HTTP, and in recognisers of services."""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from xtalk.audio import AudioFrame
from xtalk.remote import Remote, Replay, Shared, blocking, http_client
from xtalk.speech.interfaces import TTS, SpeechChunk
from xtalk.wav import WavStream

if TYPE_CHECKING:
    import httpx

__all__ = ["RemoteVoice", "is_audible", "speakable", "wav_answer"]

V = TypeVar("V", bound="RemoteVoice")

# Control characters, which some services refuse or read aloud, and lone halves of a surrogate
# pair, which no encoding knows.
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


async def is_audible(spoken: Replay[AudioFrame]) -> bool:
    """Whether any sound comes. Waits for the first."""
    async for frame in spoken:
        if frame.pcm:
            return True
    return False


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
