"""Models that follow a script, on the loop's clock: for tests and benchmarks, never for people."""

from __future__ import annotations

import functools
import math
import zlib
from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import anyio

from xtalk.agent import Agent, TurnRecord
from xtalk.audio import RATE_IN, RATE_OUT, AudioFrame
from xtalk.speech.interfaces import ASR, TTS, VAD, Transcript

__all__ = [
    "BlockingTTS",
    "LoudnessVAD",
    "ScriptedASR",
    "ScriptedAgent",
    "ScriptedTTS",
    "hum",
    "loud",
    "pitch",
    "quiet",
    "tone",
]

FRAME_S = 0.02


def tone(seconds: float, *, hertz: float = 220.0, rate: int = RATE_OUT, level: int = 6000) -> bytes:
    """A sine as PCM16."""
    step = 2 * math.pi * hertz / rate
    return array(
        "h", (int(level * math.sin(step * i)) for i in range(round(seconds * rate)))
    ).tobytes()


def hum(seconds: float, *, hertz: int, rate: int = RATE_OUT) -> bytes:
    """The same, at little cost however long: its first second is repeated without a seam."""
    size = 2 * round(seconds * rate)
    second = _second(hertz, rate)
    return (second * (size // len(second) + 1))[:size]


@functools.cache
def _second(hertz: int, rate: int) -> bytes:
    return tone(1.0, hertz=hertz, rate=rate)


def pitch(name: str) -> int:
    """A pitch in Hz for a name, by which fake voices are told apart."""
    return 200 + zlib.crc32(name.encode()) % 400


def loud(seconds: float) -> list[bytes]:
    """What `LoudnessVAD` takes for speech, in microphone frames of 20 ms at 16 kHz."""
    frame = tone(FRAME_S, rate=RATE_IN, level=8000)
    return [frame] * round(seconds / FRAME_S)


def quiet(seconds: float) -> list[bytes]:
    """Silence in the same frames."""
    return [bytes(round(2 * FRAME_S * RATE_IN))] * round(seconds / FRAME_S)


class LoudnessVAD(VAD):
    """Whether a frame has any sample over a level."""

    inline = True
    frame_samples = 320

    def __init__(self, level: int = 500) -> None:
        self.level = level

    def is_speech(self, frame: bytes) -> bool:
        return max(map(abs, array("h", frame)), default=0) > self.level


class ScriptedASR(ASR):
    """Understands the given texts, one a segment, the last again and again.

    A partial comes with each word that fits the audio so far (`word_s` seconds a word), the
    final `final_s` after the end. A text may be an exception, which is then raised.
    """

    def __init__(
        self,
        texts: Sequence[str | Exception] = ("hello there",),
        *,
        final_s: float = 0.05,
        word_s: float = 0.3,
    ) -> None:
        self.texts = list(texts)
        self.final_s = final_s
        self.word_s = word_s
        self.heard: list[float] = []

    def recognize(self, audio: bytes) -> str:
        return self._next()

    def reset(self) -> None:
        pass

    def clone(self) -> ScriptedASR:
        return type(self)(self.texts, final_s=self.final_s, word_s=self.word_s)

    def _next(self) -> str:
        text = self.texts[0] if len(self.texts) == 1 else self.texts.pop(0)
        if isinstance(text, Exception):
            raise text
        return text

    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        seconds = 0.0
        shown = 0
        first = self.texts[0]
        words = first.split() if isinstance(first, str) else []
        async for frame in frames:
            seconds += frame.seconds
            fit = min(int(seconds / self.word_s), len(words))
            if fit > shown:
                shown = fit
                yield Transcript(text=" ".join(words[:fit]))
        self.heard.append(seconds)
        await anyio.sleep(self.final_s)
        yield Transcript(text=self._next(), final=True)


class ScriptedAgent(Agent):
    """Answers with the given parts: the first after `first_s`, the others `interval_s` apart.

    `reply` may be a function of the input. An exception among the parts is raised.
    """

    def __init__(
        self,
        reply: Sequence[Any] | Callable[[Any], Sequence[Any]] = ("Hello. ", "How are you?"),
        *,
        first_s: float = 0.1,
        interval_s: float = 0.01,
    ) -> None:
        self.reply = reply
        self.first_s = first_s
        self.interval_s = interval_s
        self.inputs: list[Any] = []
        self.records: list[TurnRecord] = []
        self.closings: list[Any] = []  # the inputs of replies that ended, whatever way

    def generate(self, input: str | dict[str, Any]) -> str:
        return "".join(str(part) for part in self._parts(input))

    def clone(self) -> ScriptedAgent:
        twin = type(self)(self.reply, first_s=self.first_s, interval_s=self.interval_s)
        twin.inputs = self.inputs
        twin.records = self.records
        twin.closings = self.closings
        return twin

    def _parts(self, input: Any) -> Sequence[Any]:
        return self.reply(input) if callable(self.reply) else self.reply

    async def async_generate_stream(self, input: str | dict[str, Any]) -> AsyncIterator[Any]:
        self.inputs.append(input)
        try:
            await anyio.sleep(self.first_s)
            for index, part in enumerate(self._parts(input)):
                if index:
                    await anyio.sleep(self.interval_s)
                if isinstance(part, Exception):
                    raise part
                yield part
        finally:
            self.closings.append(input)

    def commit(self, record: TurnRecord) -> None:
        self.records.append(record)


class ScriptedTTS(TTS):
    """A tone for each sentence, `char_s` seconds a character, in chunks of `chunk_s`.

    The first chunk comes after `first_s`, the others at `speed` times real time.
    """

    voices = ("low", "high")

    def __init__(
        self,
        *,
        first_s: float = 0.08,
        char_s: float = 0.05,
        chunk_s: float = 0.1,
        speed: float = 10.0,
        error: Exception | None = None,
    ) -> None:
        self.first_s = first_s
        self.char_s = char_s
        self.chunk_s = chunk_s
        self.speed = speed
        self.error = error
        self.voice = "low"
        self.spoken: list[str] = []

    def synthesize(self, text: str) -> bytes:
        return tone(self.char_s * len(text), hertz=220 if self.voice == "low" else 440)

    def clone(self) -> ScriptedTTS:
        twin = type(self)(
            first_s=self.first_s,
            char_s=self.char_s,
            chunk_s=self.chunk_s,
            speed=self.speed,
            error=self.error,
        )
        twin.spoken = self.spoken
        return twin

    def set_voice(self, voice_names: list[str]) -> None:
        for name in voice_names:
            if name in self.voices:
                self.voice = name
                return
        raise ValueError("no such voice")

    async def async_synthesize_stream(self, text: str, **kwargs: Any) -> AsyncIterator[bytes]:
        self.spoken.append(text)
        await anyio.sleep(self.first_s)
        if self.error is not None:
            raise self.error
        pcm = self.synthesize(text)
        size = 2 * round(self.chunk_s * RATE_OUT)
        for start in range(0, len(pcm), size):
            if start:
                await anyio.sleep(self.chunk_s / self.speed)
            yield pcm[start : start + size]


class BlockingTTS(TTS):
    """Blocks its thread in the middle of a sentence until `release` is called."""

    def __init__(self, wait: Callable[[], object]) -> None:
        self.wait = wait
        self.running = 0
        self.most = 0

    def synthesize(self, text: str) -> bytes:
        return tone(0.5)

    def clone(self) -> BlockingTTS:
        return type(self)(self.wait)

    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterable[bytes]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield tone(0.2)
            self.wait()
            yield tone(0.2)
        finally:
            self.running -= 1
