"""What both voices have in common: speakers by name, and a text that may still come in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from typing import Any

from xtalk.audio import Resampler
from xtalk.remote import Remote, Replay, blocking
from xtalk.speech.interfaces import TTS
from xtalk_tts_cosyvoice.text import has_words, once

__all__ = ["Voice"]


class Voice(TTS):
    """A subclass says in `_sentence` and `_utterance` how one attempt at a request goes.

    Both are given the text in pieces, of which one at least has words, and give PCM16 at
    `service_rate`.
    """

    def __init__(
        self, remote: Remote, *, voices: tuple[str, ...], service_rate: int, output_rate: int
    ) -> None:
        self.voices = tuple(dict.fromkeys(voices))
        self.output_rate = output_rate
        self._voice = voices[0] if voices else ""
        self._remote = remote
        self._service_rate = service_rate

    async def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def clone(self) -> Voice:
        raise NotImplementedError

    def _sentence(self, texts: Replay[str]) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError

    def _utterance(self, texts: Replay[str]) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError

    def set_voice(self, voice_names: list[str]) -> None:
        for name in voice_names:
            if name in self.voices:
                self._voice = name
                return
        wanted = " or ".join(map(repr, voice_names))
        raise ValueError(f"{type(self).__name__} is configured without a voice {wanted}")

    def synthesize(self, text: str) -> bytes:
        return blocking(self._apart(text))

    async def _apart(self, text: str) -> bytes:
        """The whole sentence over a connection of its own, for another event loop."""
        twin = self.clone()
        await twin.open()
        try:
            return await twin.async_synthesize(text)
        finally:
            await twin.close()

    async def async_synthesize(self, text: str, **kwargs: Any) -> bytes:
        async with aclosing(self.async_synthesize_stream(text)) as audio:
            return b"".join([pcm async for pcm in audio])

    async def async_synthesize_stream(
        self, text: str, **kwargs: Any
    ) -> AsyncGenerator[bytes, None]:
        """The sentence as it is made; nothing, and no request, for a text without words."""
        async with aclosing(self._said(once(text), self._sentence)) as audio:
            async for pcm in audio:
                yield pcm

    async def speak(self, texts: AsyncIterable[str]) -> AsyncGenerator[bytes, None]:
        """One utterance whose text comes in pieces of any length, spoken while it comes."""
        async with aclosing(self._said(texts, self._utterance)) as audio:
            async for pcm in audio:
                yield pcm

    async def _said(
        self,
        texts: AsyncIterable[str],
        ask: Callable[[Replay[str]], AsyncGenerator[bytes, None]],
    ) -> AsyncGenerator[bytes, None]:
        async with Replay(texts) as asked:
            if not await has_words(asked):
                return
            # At equal rates it only joins samples that the service has cut in half.
            resampler = Resampler(self._service_rate, self.output_rate)
            async with aclosing(self._remote.stream(lambda: ask(asked))) as audio:
                async for pcm in audio:
                    if ready := resampler.push(pcm):
                        yield ready
            if rest := resampler.flush():
                yield rest
