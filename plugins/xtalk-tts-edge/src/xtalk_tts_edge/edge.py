"""The voices of Microsoft Edge: MP3 decoded as it comes, words with their times."""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from pydantic import Field

from xtalk.audio import AudioFrame, Resampler
from xtalk.errors import ConfigError
from xtalk.remote import SOUND_S, Remote, Unreadable, blocking
from xtalk.speech.interfaces import TTS, SpeechChunk, Word
from xtalk.speech.remote import speakable
from xtalk_tts_edge.sound import RATE, Mp3, TailTrim
from xtalk_tts_edge.voices import VOICES, find

__all__ = ["EdgeTTS"]

TICKS = 10_000_000  # a second, in the times of the service

NAME = r"^[a-z]{2,}-[A-Z]{2,}-[\w-]+Neural$"


class EdgeTTS(TTS):
    """Microsoft Edge's read-aloud service through edge-tts; each sentence is a connection."""

    def __init__(
        self,
        voice: Annotated[
            str, Field(description="one of the names below, or any voice of the service")
        ] = "zh-CN-XiaoyiNeural",
        sample_rate: Annotated[
            int | None,
            Field(ge=8000, le=48000, description="in Hz; none is the service's own 24000"),
        ] = None,
        trim_tail: Annotated[
            bool, Field(description="leave out the silence at the end of a sentence")
        ] = False,
        threshold_db: Annotated[
            float, Field(le=0, description="below this level, of full scale, it is silence")
        ] = -40,
        min_silence_ms: Annotated[
            int, Field(ge=0, description="shorter silence at the end stays as it is")
        ] = 100,
        frame_ms: Annotated[
            int, Field(ge=1, le=1000, description="the level is measured over so long")
        ] = 20,
        pad_ms: Annotated[int, Field(ge=0, description="so much of the silence is kept")] = 100,
        voices: Annotated[
            Sequence[Annotated[str, Field(pattern=NAME)]],
            Field(description="more voices that a conversation may ask for"),
        ] = (),
        proxy: Annotated[
            str | None, Field(pattern="^https?://", description="the address of an HTTP proxy")
        ] = None,
        timeout: Annotated[
            float, Field(gt=0, description="seconds to the first piece, and between two")
        ] = SOUND_S,
    ) -> None:
        import aiohttp  # noqa: F401  # here and not while somebody waits for the first sentence
        import av  # noqa: F401
        import edge_tts  # noqa: F401

        self.voices = tuple(dict.fromkeys((*VOICES, *voices)))
        self.output_rate = sample_rate or RATE
        self._voice = _known(voice, self.voices)
        self._rate = "+0%"
        self._trim = trim_tail
        self._silence: dict[str, Any] = {
            "threshold_db": threshold_db,
            "min_silence_ms": min_silence_ms,
            "frame_ms": frame_ms,
            "pad_ms": pad_ms,
        }
        self._proxy = proxy
        self._remote = Remote(
            name="Microsoft Edge's service (EdgeTTS)",
            check="check that this machine reaches the internet, the voice's name, "
            "and that edge-tts is of its newest version",
            timeout_s=timeout,
        )

    def synthesize(self, text: str) -> bytes:
        return blocking(self.async_synthesize(text))

    async def async_synthesize(self, text: str, **kwargs: Any) -> bytes:
        async with aclosing(self.async_synthesize_stream(text)) as chunks:
            return b"".join([chunk.audio.pcm async for chunk in chunks])

    async def async_synthesize_stream(
        self, text: str, **kwargs: Any
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Chunks as they come, with the words that begin in them; none without words."""
        said = speakable(text)
        if not said:
            return
        async with aclosing(self._remote.stream(lambda: self._asked(said))) as chunks:
            async for chunk in chunks:
                yield chunk

    def set_voice(self, voice_names: list[str]) -> None:
        for name in voice_names:
            found = find(name, (*self.voices, self._voice))
            if found is not None:
                self._voice = found
                return
        raise ValueError(f"EdgeTTS knows no voice {' or '.join(map(repr, voice_names))}")

    def set_speed(self, speed: float) -> None:
        """0.5 to 1.5 times the usual pace; ValueError outside."""
        if not 0.5 <= speed <= 1.5:
            raise ValueError(f"a speed lies between 0.5 and 1.5, got {speed:g}")
        self._rate = f"{round(100 * (speed - 1)):+d}%"

    def clone(self) -> EdgeTTS:
        return copy.copy(self)

    async def _asked(self, text: str) -> AsyncGenerator[SpeechChunk, None]:
        from xtalk_tts_edge.client import messages

        speech = _Speech(self.output_rate, TailTrim(**self._silence) if self._trim else None)
        answer = messages(
            text,
            voice=self._voice,
            rate=self._rate,
            proxy=self._proxy,
            timeout_s=self._remote.timeout_s,
        )
        async with aclosing(answer):
            async for message in answer:
                chunk = speech.push(message)
                if chunk is not None:
                    yield chunk
        chunk = speech.flush()
        if chunk is not None:
            yield chunk


class _Speech:
    """One sentence on its way from messages to chunks."""

    def __init__(self, rate: int, trim: TailTrim | None) -> None:
        self._mp3 = Mp3()
        self._trim = trim
        self._resampler = Resampler(RATE, rate)
        self._decoded = False
        self._made = 0  # samples
        self._words: list[Word] = []  # those that begin later than what was made

    def push(self, message: Any) -> SpeechChunk | None:
        if message["type"] != "audio":
            self._words.append(_word(message))
            return None
        pcm = self._mp3.push(message["data"])
        self._decoded = self._decoded or bool(pcm)
        if self._trim is not None:
            pcm = self._trim.push(pcm)
        pcm = self._resampler.push(pcm)
        return self._chunk(pcm) if pcm else None

    def flush(self) -> SpeechChunk | None:
        """The rest, which has all words that are left."""
        pcm = self._mp3.flush()
        if not self._decoded and not pcm:
            raise Unreadable("MP3")
        if self._trim is not None:
            pcm = self._trim.push(pcm) + self._trim.flush()
        pcm = self._resampler.push(pcm) + self._resampler.flush()
        return self._chunk(pcm, last=True) if pcm or self._words else None

    def _chunk(self, pcm: bytes, *, last: bool = False) -> SpeechChunk:
        audio = AudioFrame(pcm, self._resampler.to_rate)
        begin = self._made / audio.rate
        self._made += audio.samples
        end = begin + audio.seconds
        words = [word for word in self._words if last or word.start < end]
        self._words = self._words[len(words) :]  # they come in the order of their times
        return SpeechChunk(audio=audio, words=tuple(_later(word, -begin) for word in words))


def _word(message: Any) -> Word:
    start = message["offset"] / TICKS
    return Word(text=message["text"], start=start, end=start + message["duration"] / TICKS)


def _later(word: Word, by_s: float) -> Word:
    return Word(text=word.text, start=word.start + by_s, end=word.end + by_s)


def _known(voice: str, voices: Sequence[str]) -> str:
    """The voice's full name; any name of the service's form will do. ConfigError otherwise."""
    found = find(voice, voices)
    if found is None and re.match(NAME, voice):
        return voice
    if found is None:
        raise ConfigError(
            f"EdgeTTS has no voice {voice!r}; name one such as {VOICES[0]}, "
            "or of that form: `edge-tts --list-voices` lists all"
        )
    return found
