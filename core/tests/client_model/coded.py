"""Speech whose content is in its samples: what is lost, doubled or reordered shows.

The user's words are levels: a word is eight frames of 32 ms that hold its number, and one of
silence. The voice's audio counts: a sample says which reply it belongs to and which one it is.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import Any

import anyio

from xtalk.agent import Agent, TurnRecord
from xtalk.audio import RATE_OUT, AudioFrame
from xtalk.speech.interfaces import ASR, TTS, SpeechEnhancer, Transcript
from xtalk.testing.fakes import LoudnessVAD

FRAME_SAMPLES = 512
FRAME_S = FRAME_SAMPLES / 16_000
PLAIN = "one two three four five six seven eight nine ten yes stop why because tomorrow"
WORDS = [*PLAIN.split(), "uh-huh", "um", "<incomplete>"]
FRAMES_A_WORD = 9
WORD_S = FRAMES_A_WORD * FRAME_S
ENOUGH = 5  # frames of a word that make it understood

QUIET = bytes(2 * FRAME_SAMPLES)
COUGH = array("h", [30_000] * FRAME_SAMPLES).tobytes()


def word_frames(word: str) -> list[bytes]:
    level = 2000 + 10 * WORDS.index(word)
    frame = array("h", [level] * FRAME_SAMPLES).tobytes()
    return [frame] * (FRAMES_A_WORD - 1) + [QUIET]


def understood(pcm: bytes) -> list[str]:
    """The words in this audio, in order; half a word is none."""
    words = []
    for level, run in groupby(array("h", pcm)):
        number, rest = divmod(level - 2000, 10)
        samples = sum(1 for _ in run)
        if not rest and 0 <= number < len(WORDS) and samples >= ENOUGH * FRAME_SAMPLES:
            words.append(WORDS[number])
    return words


class CodedASR(ASR):
    """Understands exactly what it is given; the final comes `final_s` after the end."""

    def __init__(
        self,
        *,
        final_s: float = 0.05,
        fails: tuple[int, ...] = (),
        hangs: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        self.final_s = final_s
        self.fails = fails
        self.hangs = hangs  # segment -> "middle" or "end"
        self.segments = 0

    def recognize(self, audio: bytes) -> str:
        return " ".join(understood(audio))

    def reset(self) -> None:
        pass

    def clone(self) -> CodedASR:
        return CodedASR(final_s=self.final_s, fails=self.fails, hangs=self.hangs)

    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        number, self.segments = self.segments, self.segments + 1
        audio = bytearray()
        shown = 0
        async for frame in frames:
            audio += frame.pcm
            if self.hangs.get(number) == "middle" and len(audio) > 24_000:
                await anyio.sleep_forever()
            if len(audio) - shown > 9600:
                shown = len(audio)
                yield Transcript(text=self.recognize(bytes(audio)))
        await anyio.sleep(self.final_s)
        if number in self.hangs:
            await anyio.sleep_forever()
        if number in self.fails:
            raise RuntimeError("this segment is not understood")
        yield Transcript(text=self.recognize(bytes(audio)), final=True)


class Outage:
    """From its call number `at` on nobody answers for so long."""

    def __init__(self, at: int, seconds: float) -> None:
        self.at = at
        self.seconds = seconds
        self.calls = 0
        self.until = float("-inf")

    async def over(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.until = anyio.current_time() + self.seconds
        await anyio.sleep_until(self.until)


class FarVAD(LoudnessVAD):
    inline = False

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self.outage = outage

    async def async_is_speech(self, frame: bytes) -> bool:
        await self.outage.over()
        return self.is_speech(frame)


class FarEnhancer(SpeechEnhancer):
    """Changes nothing."""

    def __init__(self, outage: Outage) -> None:
        self.outage = outage

    def enhance(self, audio: bytes) -> bytes:
        raise AssertionError("there is an async one")

    def clone(self) -> FarEnhancer:
        return FarEnhancer(self.outage)

    async def async_enhance(self, audio: bytes) -> bytes:
        await self.outage.over()
        return audio

    async def async_flush(self) -> bytes:
        return b""


# --- the voice ------------------------------------------------------------------------------------

PERIOD = 255 * 255
_RAMP = b"".join(bytes((i % 255 + 1, i // 255 + 1)) for i in range(PERIOD)) * 12


def counted(turn: int, start: int, samples: int) -> bytes:
    """Samples start.. of the audio of this turn; no byte of it is 0, so silence can be told."""
    at = (turn * 7919 + start) % PERIOD
    return _RAMP[2 * at : 2 * (at + samples)]


def position_of(turn: int, pcm: bytes, near: int) -> int:
    """Which sample of the turn's audio this begins with: the one next to `near`."""
    value = (pcm[1] - 1) * 255 + pcm[0] - 1
    offset = (value - turn * 7919) % PERIOD
    return offset + round((near - offset) / PERIOD) * PERIOD


class Reply:
    """What the agent and the voice made of one turn."""

    def __init__(self, turn_id: int) -> None:
        self.turn_id = turn_id
        self.speculative = False
        self.text = ""
        self.samples = 0
        self.sentences: list[tuple[str, int, int]] = []  # text, first sample, last


class Book:
    """All replies of a conversation; its agent and its voice write here."""

    def __init__(self) -> None:
        self.replies: dict[int, Reply] = {}
        self.records: list[TurnRecord] = []
        self.latest = Reply(0)


class CodedAgent(Agent):
    """`script(turn_id)` gives the parts: texts, exceptions, or seconds to wait."""

    def __init__(self, book: Book, script: Any) -> None:
        self.book = book
        self.script = script

    def generate(self, input: Any) -> str:
        raise AssertionError("the stream is there")

    def clone(self) -> CodedAgent:
        return self

    async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
        reply = self.book.latest = Reply(input["turn_id"])
        reply.speculative = input["speculative"]
        before = self.book.replies.get(reply.turn_id)
        assert before is None or before.speculative, "a turn was answered twice"
        self.book.replies[reply.turn_id] = reply
        for part in self.script(reply.turn_id):
            if isinstance(part, float):
                await anyio.sleep(part)
            elif isinstance(part, Exception):
                raise part
            else:
                reply.text += part
                yield part

    def commit(self, record: TurnRecord) -> None:
        self.book.records.append(record)


class CodedTTS(TTS):
    """Counted audio, `char_s` a character, in pieces of these sizes, `wait_s` apart."""

    def __init__(
        self,
        book: Book,
        *,
        char_s: float = 0.05,
        pieces: tuple[int, ...] = (4800,),
        wait_s: float = 0.01,
        fails: tuple[int, ...] = (),
        hangs: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        self.book = book
        self.char_s = char_s
        self.pieces = pieces
        self.wait_s = wait_s
        self.fails = fails
        self.hangs = hangs  # sentence -> seconds
        self.count = 0

    def synthesize(self, text: str) -> bytes:
        raise AssertionError("the stream is there")

    def clone(self) -> CodedTTS:
        return self

    async def async_synthesize_stream(self, text: str, **kwargs: Any) -> AsyncIterator[bytes]:
        self.count += 1
        reply = self.book.latest
        left = int(len(text) * self.char_s * RATE_OUT)
        reply.sentences.append((text, reply.samples, reply.samples + left))
        number = 0
        while left:
            await anyio.sleep(self.wait_s)
            if number == self.count % 3:
                await anyio.sleep(self.hangs.get(self.count, 0.0))
            if self.count in self.fails:
                raise RuntimeError("the voice broke")
            size = min(left, self.pieces[number % len(self.pieces)])
            yield counted(reply.turn_id, reply.samples, size)
            reply.samples += size
            left -= size
            number += 1


# --- the same by the smallest recipes: blocking calls in threads ----------------------------------


class SmallASR(CodedASR):
    """Only `recognize`, `reset` and `clone`."""

    transcribe = ASR.transcribe

    def recognize(self, audio: bytes) -> str:
        self.segments += 1
        if self.segments in self.fails:
            raise RuntimeError("this call fails")
        return super().recognize(audio)

    def clone(self) -> SmallASR:
        return SmallASR(fails=self.fails)


class SmallAgent(CodedAgent):
    """Only `generate` and `clone`; it thinks no time."""

    async_generate_stream = Agent.async_generate_stream

    def generate(self, input: Any) -> str:
        reply = self.book.latest = Reply(input["turn_id"])
        self.book.replies[reply.turn_id] = reply
        for part in self.script(reply.turn_id):
            if isinstance(part, Exception):
                raise part
            reply.text += part if isinstance(part, str) else ""
        return reply.text

    def clone(self) -> SmallAgent:
        return self


class SmallTTS(CodedTTS):
    """Only `synthesize` and `clone`."""

    async_synthesize_stream = TTS.async_synthesize_stream

    def synthesize(self, text: str) -> bytes:
        self.count += 1
        if self.count in self.fails:
            raise RuntimeError("the voice broke")
        reply = self.book.latest
        first, samples = reply.samples, int(len(text) * self.char_s * RATE_OUT)
        reply.sentences.append((text, first, first + samples))
        reply.samples += samples
        return counted(reply.turn_id, first, samples)

    def clone(self) -> SmallTTS:
        return self
