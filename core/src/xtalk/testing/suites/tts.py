"""What every voice must do."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, ClassVar

import anyio
import pytest

from xtalk.audio import AudioFrame, pcm_to_float
from xtalk.calls import overrides, synthesize
from xtalk.hookspecs import Model
from xtalk.speech.interfaces import TTS
from xtalk.testing.suites.base import CANCEL_S, SESSIONS, Suite, clones, is_free, run_sync
from xtalk.threads import Guard

__all__ = ["TTSSuite"]


class TTSSuite(Suite[TTS]):
    """A voice. `text` is what it says; durations may differ by the share `tolerance`."""

    slot = "tts"
    text: ClassVar[str] = "The quick brown fox jumps over the lazy dog."
    tolerance: ClassVar[float] = 0.05

    def check_card(self, card: Model, model: TTS) -> None:
        assert not card.sample_rates or model.output_rate in card.sample_rates
        assert set(card.voices) <= set(model.voices)
        assert set(card.emotions) <= set(model.emotions)
        assert card.speed in (None, hasattr(model, "set_speed"))
        streams = overrides(model, TTS, "synthesize_stream") or overrides(
            model, TTS, "async_synthesize_stream"
        )
        assert card.streaming in (None, streams)

    @clones(1)
    async def test_it_speaks_at_its_rate(self, guard: Guard[TTS]) -> None:
        speech = await say(guard, self.text)
        assert speech.rate == guard.model.output_rate
        assert 0.01 < speech.seconds / len(self.text) < 0.5, f"{speech.seconds} s are implausible"
        assert not speech.pcm.startswith(b"RIFF"), "samples only, without the header of a file"

    @clones(1)
    async def test_it_can_be_heard(self, guard: Guard[TTS]) -> None:
        assert loudness(await say(guard, self.text)) > 0.003

    @clones(1)
    async def test_a_stream_is_as_long_as_one_shot(self, guard: Guard[TTS]) -> None:
        streamed = await say(guard, self.text)
        tts = guard.model
        if overrides(tts, TTS, "async_synthesize"):
            whole = await tts.async_synthesize(self.text)
        else:
            whole = await run_sync(guard, tts.synthesize, self.text)
        self.same(AudioFrame(whole, tts.output_rate).check(), streamed)

    @clones(1)
    async def test_no_text_is_no_speech(self, guard: Guard[TTS]) -> None:
        for text in ("", " ", "\n"):
            assert (await say(guard, text)).seconds < 0.5

    @pytest.mark.parametrize(
        "text",
        ["3.14 & <b>50 %</b> [[x]] {y}", "你好，世界。", "Grüße 👋🏽", "\x00\x01\x1b a", "…—!?"],
    )
    def test_no_text_does_harm(self, arguments: Mapping[str, Any], text: str) -> None:
        @clones(1)
        async def check(self: TTSSuite, guard: Guard[TTS]) -> None:
            await say(guard, text)
            self.same(await say(guard, self.text), await say(guard, self.text))

        check(self, arguments)

    @clones(2)
    async def test_two_clones_take_turns(self, first: Guard[TTS], second: Guard[TTS]) -> None:
        alone = await say(first, self.text)
        heard: list[list[AudioFrame]] = [[], []]
        async with first.lease() as one, second.lease() as two, AsyncExitStack() as stack:
            streams = [synthesize(lease, self.text) for lease in (one, two)]
            for stream in streams:
                stack.push_async_callback(stream.aclose)
            speaking = dict(zip(streams, heard, strict=True))
            while speaking:
                for stream, chunks in list(speaking.items()):
                    chunk = await anext(stream, None)
                    if chunk is None:
                        del speaking[stream]
                    else:
                        chunks.append(chunk.audio)
        for chunks in heard:
            self.same(join(chunks, alone.rate), alone)

    @clones(SESSIONS)
    async def test_eight_clones_at_once_speak_as_if_alone(self, *guards: Guard[TTS]) -> None:
        alone = await say(guards[0], self.text)
        spoken: list[AudioFrame] = []

        async def speak(guard: Guard[TTS]) -> None:
            spoken.append(await say(guard, self.text))

        async with anyio.create_task_group() as group:
            for guard in guards:
                group.start_soon(speak, guard)
        for speech in spoken:
            self.same(speech, alone)

    @clones(1)
    async def test_it_is_silenced_at_once(self, guard: Guard[TTS]) -> None:
        before = await say(guard, self.text)
        async with guard.lease() as lease:
            stream = synthesize(lease, " ".join([self.text] * 20))
            await anext(stream)
            began = time.monotonic()
            await stream.aclose()
            assert time.monotonic() - began < CANCEL_S
        await is_free(guard)
        self.same(await say(guard, self.text), before)

    @clones(2)
    async def test_a_voice_changes_its_clone_only(
        self, first: Guard[TTS], second: Guard[TTS]
    ) -> None:
        voices = first.model.voices
        if len(voices) < 2:
            pytest.skip("it has only one voice")
        for guard in (first, second):
            await run_sync(guard, guard.model.set_voice, [voices[0]])
        before = await say(second, self.text)
        await run_sync(first, first.model.set_voice, [voices[1]])
        after, other = await say(second, self.text), await say(first, self.text)
        assert likeness(before, after) > likeness(after, other)

    @clones(1)
    async def test_an_unknown_voice_is_refused(self, guard: Guard[TTS]) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            await run_sync(guard, guard.model.set_voice, ["no voice has this name"])
        assert (await say(guard, self.text)).samples

    @clones(1)
    async def test_the_first_known_voice_is_taken(self, guard: Guard[TTS]) -> None:
        for voice in guard.model.voices[:1]:
            await run_sync(guard, guard.model.set_voice, ["no voice has this name", voice])
        assert (await say(guard, self.text)).samples

    @clones(1)
    async def test_emotions_are_known_or_refused(self, guard: Guard[TTS]) -> None:
        for emotion in guard.model.emotions[:1]:
            await run_sync(guard, guard.model.set_emotion, emotion)
        with pytest.raises(ValueError, match=r"\w"):
            await run_sync(guard, guard.model.set_emotion, "no emotion has this name")
        assert (await say(guard, self.text)).samples

    @clones(2)
    async def test_the_speed_changes_its_clone_only(
        self, first: Guard[TTS], second: Guard[TTS]
    ) -> None:
        set_speed = getattr(first.model, "set_speed", None)
        if set_speed is None:
            pytest.skip("it has no set_speed; the engine's speed controller is used")
        usual = await say(second, self.text)
        await run_sync(first, set_speed, 0.5)
        assert (await say(first, self.text)).seconds > 1.3 * usual.seconds
        await run_sync(first, set_speed, 1.5)
        assert (await say(first, self.text)).seconds < 0.85 * usual.seconds
        self.same(await say(second, self.text), usual)

    def same(self, found: AudioFrame, expected: AudioFrame) -> None:
        """Equal in length, but for what a voice varies by itself."""
        assert math.isclose(found.seconds, expected.seconds, rel_tol=self.tolerance)


async def say(guard: Guard[TTS], text: str) -> AudioFrame:
    """All that the model speaks of a text, as the engine would get it."""
    async with guard.lease() as lease, aclosing(synthesize(lease, text)) as stream:
        chunks = [chunk.audio.check() async for chunk in stream]
    return join(chunks, guard.model.output_rate)


def join(chunks: Sequence[AudioFrame], rate: int) -> AudioFrame:
    assert {chunk.rate for chunk in chunks} <= {rate}, "chunks of different rates"
    return AudioFrame(b"".join(chunk.pcm for chunk in chunks), rate)


def loudness(speech: AudioFrame) -> float:
    """The root mean square, 1 for a square wave at full scale."""
    samples = pcm_to_float(speech.pcm)
    return math.sqrt(float((samples**2).mean())) if samples.size else 0.0


def likeness(one: AudioFrame, other: AudioFrame) -> float:
    """How alike two voices are: the cosine of their average spectra, at most 1."""
    import numpy as np

    def spectrum(speech: AudioFrame) -> Any:
        samples = pcm_to_float(speech.pcm)
        frames = samples[: samples.size // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024)
        average = np.abs(np.fft.rfft(frames)).mean(axis=0)
        return average / np.linalg.norm(average)

    return float(spectrum(one) @ spectrum(other))
