"""What every detector of voice activity must do."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest

from xtalk.audio import RATE_IN, Framer, silence
from xtalk.speech.interfaces import VAD
from xtalk.testing.recordings import recording
from xtalk.testing.suites.base import Suite, clones
from xtalk.threads import Guard

__all__ = ["VADSuite"]


class VADSuite(Suite[VAD]):
    """A voice-activity detector. `speech` names a recording of `xtalk.testing`."""

    slot = "vad"
    speech: ClassVar[str] = "what-time-is-it"

    @clones(1)
    async def test_silence_is_not_speech(self, guard: Guard[VAD]) -> None:
        assert not any(await self.verdicts(guard, silence(2.0, RATE_IN).pcm))

    @clones(1)
    async def test_speech_is_speech(self, guard: Guard[VAD]) -> None:
        verdicts = await self.verdicts(guard, self.sound())
        assert sum(verdicts) > 0.3 * len(verdicts)

    @clones(1)
    async def test_probabilities_are_probabilities(self, guard: Guard[VAD]) -> None:
        sound = self.sound() + silence(1.0, RATE_IN).pcm
        probabilities = await self.probabilities(guard, sound)
        assert all(0 <= probability <= 1 for probability in probabilities)
        assert max(probabilities) > min(probabilities)

    @clones(1)
    async def test_async_is_the_same(self, guard: Guard[VAD]) -> None:
        expected = await self.verdicts(guard, self.sound())
        guard.model.reset()
        frames = Framer(guard.model.frame_samples).push(self.sound())
        assert [await guard.model.async_is_speech(frame) for frame in frames] == expected

    @clones(1)
    async def test_reset_forgets(self, guard: Guard[VAD]) -> None:
        expected = await self.probabilities(guard, self.sound())
        guard.model.reset()
        assert await self.probabilities(guard, self.sound()) == expected

    @clones(2)
    async def test_two_clones_do_not_hear_each_other(
        self, first: Guard[VAD], second: Guard[VAD]
    ) -> None:
        expected = await self.probabilities(first, self.sound())
        first.model.reset()
        size = first.model.frame_samples
        found = []
        for frame in Framer(size).push(self.sound()):
            found.append(first.model.speech_probability(frame))
            second.model.speech_probability(bytes(2 * size))
        assert found == expected

    @clones(1)
    async def test_inline_means_under_five_milliseconds(self, guard: Guard[VAD]) -> None:
        if not guard.model.inline:
            pytest.skip("it does not run on the event loop")
        times = []
        for frame in Framer(guard.model.frame_samples).push(self.sound()):
            began = time.perf_counter()
            guard.model.is_speech(frame)
            times.append(time.perf_counter() - began)
        assert sorted(times)[len(times) // 2] < 0.005

    def sound(self) -> bytes:
        """The recording: PCM16 mono at 16 kHz."""
        return recording(self.speech).pcm

    async def probabilities(self, guard: Guard[VAD], pcm: bytes) -> list[float]:
        frames = Framer(guard.model.frame_samples).push(pcm)
        return [guard.model.speech_probability(frame) for frame in frames]

    async def verdicts(self, guard: Guard[VAD], pcm: bytes) -> list[bool]:
        frames = Framer(guard.model.frame_samples).push(pcm)
        return [guard.model.is_speech(frame) for frame in frames]
