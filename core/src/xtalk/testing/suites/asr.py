"""What every recogniser must do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import ClassVar

import anyio
import anyio.lowlevel
import pytest

from xtalk.audio import RATE_IN, AudioFrame, Framer, silence
from xtalk.calls import overrides, recognize
from xtalk.hookspecs import Model
from xtalk.speech.interfaces import ASR, Transcript
from xtalk.testing.recordings import recording
from xtalk.testing.suites.base import (
    CANCEL_S,
    SESSIONS,
    Suite,
    clones,
    is_free,
    run_sync,
    words,
)
from xtalk.threads import Guard

__all__ = ["ASRSuite"]


class ASRSuite(Suite[ASR]):
    """A recogniser. `speech` names a recording of `xtalk.testing`, `expected` what it must hear."""

    slot = "asr"
    speech: ClassVar[str] = "what-time-is-it"
    expected: ClassVar[str | None] = None

    def check_card(self, card: Model, model: ASR) -> None:
        assert not card.sample_rates or RATE_IN in card.sample_rates

    @clones(1)
    async def test_it_hears_speech(self, guard: Guard[ASR]) -> None:
        transcripts = await hear(guard, self.sound())
        finals = [transcript for transcript in transcripts if transcript.final]
        assert finals == transcripts[-1:], "one final transcript, and it comes last"
        assert words(finals[0].text), "nothing was understood"
        if self.expected is not None:
            assert words(finals[0].text) == words(self.expected)

    @clones(1)
    async def test_a_stream_is_understood_as_a_whole_recording_is(self, guard: Guard[ASR]) -> None:
        streamed = await self.understand(guard)
        asr = guard.model
        if overrides(asr, ASR, "async_recognize"):
            whole = await asr.async_recognize(self.sound())
        else:
            await run_sync(guard, asr.reset)
            whole = await run_sync(guard, asr.recognize, self.sound())
        assert words(whole) == words(streamed)

    @clones(1)
    async def test_the_size_of_the_pieces_changes_nothing(self, guard: Guard[ASR]) -> None:
        expected = await self.understand(guard)
        for size in (320, 1026, len(self.sound())):
            assert await text_of(guard, self.sound(), size) == expected

    @clones(1)
    async def test_no_audio_is_no_text(self, guard: Guard[ASR]) -> None:
        assert await text_of(guard, b"") == ""
        assert await run_sync(guard, guard.model.recognize, b"") == ""

    @clones(1)
    async def test_silence_does_no_harm(self, guard: Guard[ASR]) -> None:
        before = await self.understand(guard)
        await text_of(guard, silence(1.0, RATE_IN).pcm)
        assert await text_of(guard, self.sound()) == before

    @clones(1)
    async def test_a_final_call_without_audio_ends_the_segment(self, guard: Guard[ASR]) -> None:
        expected = await self.understand(guard)
        await run_sync(guard, guard.model.reset)
        await self.push(guard, self.sound(), False)
        assert await self.push(guard, b"", True) == expected

    @clones(1)
    async def test_reset_forgets_the_segment(self, guard: Guard[ASR]) -> None:
        expected = await self.understand(guard)
        await run_sync(guard, guard.model.reset)
        await self.push(guard, self.sound(), False)
        await run_sync(guard, guard.model.reset)
        await self.push(guard, self.sound(), False)
        assert await self.push(guard, b"", True) == expected

    @clones(2)
    async def test_two_clones_do_not_hear_each_other(
        self, first: Guard[ASR], second: Guard[ASR]
    ) -> None:
        expected = await self.understand(first)
        for guard in (first, second):
            await run_sync(guard, guard.model.reset)
        sound, pause = self.sound(), silence(1.0, RATE_IN).pcm
        await self.push(first, sound, False)
        await self.push(second, pause, False)
        assert await self.push(first, b"", True) == expected
        await self.push(second, b"", True)

    @clones(SESSIONS)
    async def test_eight_clones_at_once_hear_the_same(self, *guards: Guard[ASR]) -> None:
        expected = await self.understand(guards[0])
        texts: list[str] = []

        async def listen(guard: Guard[ASR]) -> None:
            texts.append(await text_of(guard, self.sound()))

        async with anyio.create_task_group() as group:
            for guard in guards:
                group.start_soon(listen, guard)
        assert texts == [expected] * SESSIONS

    @clones(1)
    async def test_it_is_given_up_at_once(self, guard: Guard[ASR]) -> None:
        sound = self.sound()
        expected = await self.understand(guard)
        half_way = anyio.Event()

        async def endless() -> AsyncIterator[AudioFrame]:
            frames = Framer(320).push(sound)
            for number, frame in enumerate(frames):
                if number == len(frames) // 2:
                    half_way.set()
                yield AudioFrame(frame, RATE_IN)
            await anyio.sleep_forever()

        async def listen() -> None:
            async with guard.lease() as lease, aclosing(recognize(lease, endless())) as heard:
                async for _ in heard:
                    pass

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await half_way.wait()
            await anyio.sleep(0.05)  # so that a slow model is in the middle of a call
            began = time.monotonic()
            group.cancel_scope.cancel()
        assert time.monotonic() - began < CANCEL_S
        await is_free(guard)
        assert await text_of(guard, sound) == expected

    @clones(2)
    async def test_a_grammar_holds_for_its_clone_only(
        self, first: Guard[ASR], second: Guard[ASR]
    ) -> None:
        expected = await self.understand(second)
        jsgf = "#JSGF V1.0;\ngrammar test;\npublic <answer> = yes | no;\n"
        await run_sync(first, first.model.set_grammar, jsgf)
        assert await text_of(second, self.sound()) == expected

    def sound(self) -> bytes:
        """The recording: PCM16 mono at 16 kHz."""
        return recording(self.speech).pcm

    async def understand(self, guard: Guard[ASR]) -> str:
        """The text of the recording, which is not empty."""
        text = await text_of(guard, self.sound())
        assert words(text), "nothing was understood"
        return text

    async def push(self, guard: Guard[ASR], audio: bytes, final: bool) -> str:
        """One call of the streaming method that the model overrides; skips where it has none."""
        asr = guard.model
        if overrides(asr, ASR, "async_recognize_stream"):
            return await asr.async_recognize_stream(audio, is_final=final)
        if not overrides(asr, ASR, "recognize_stream"):
            pytest.skip("it overrides no method that recognises piece by piece")
        async with guard.lease() as lease:
            return await lease.run(asr.recognize_stream, audio, is_final=final)


async def hear(guard: Guard[ASR], pcm: bytes, size: int = 640) -> list[Transcript]:
    """What comes of a segment that arrives in pieces of `size` bytes."""

    async def frames() -> AsyncIterator[AudioFrame]:
        for start in range(0, len(pcm), size):
            yield AudioFrame(pcm[start : start + size], RATE_IN)
            await anyio.lowlevel.checkpoint()

    async with guard.lease() as lease, aclosing(recognize(lease, frames())) as transcripts:
        return [transcript async for transcript in transcripts]


async def text_of(guard: Guard[ASR], pcm: bytes, size: int = 640) -> str:
    return (await hear(guard, pcm, size))[-1].text
