"""What every suppressor of noise must do."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from xtalk.audio import RATE_IN, AudioFrame, float_to_pcm, pcm_to_float, silence
from xtalk.calls import overrides
from xtalk.speech.interfaces import SpeechEnhancer
from xtalk.testing.recordings import recording
from xtalk.testing.suites.base import SESSIONS, Suite, at_once, clones, median_s
from xtalk.testing.suites.tts import loudness
from xtalk.threads import Guard

__all__ = ["EnhancerSuite"]

PIECE = 640  # bytes, 20 ms
SHIFT_MS = 5  # speech may be so much earlier or later than it was


class EnhancerSuite(Suite[SpeechEnhancer]):
    """A suppressor of noise. `speech` names a recording of `xtalk.testing`.

    Samples of two runs may differ by `tolerance` (of 32768): pieces of other sizes may be summed
    in another order.
    """

    slot = "speech_enhancer"
    speech: ClassVar[str] = "what-time-is-it"
    tolerance: ClassVar[int] = 2

    @clones(1)
    async def test_no_sample_is_lost_or_invented(self, guard: Guard[SpeechEnhancer]) -> None:
        for samples in (1, 255, 256, 4_000, 16_001):
            sound = self.sound()[: 2 * samples]
            assert len(await enhanced(guard, sound)) == len(sound)

    @clones(1)
    async def test_the_size_of_the_pieces_changes_nothing(
        self, guard: Guard[SpeechEnhancer]
    ) -> None:
        expected = await enhanced(guard, self.sound())
        for size in (320, 1026, len(self.sound())):
            guard.model.reset()
            self.same(await enhanced(guard, self.sound(), size), expected)

    @clones(1)
    async def test_speech_comes_through_at_its_place(self, guard: Guard[SpeechEnhancer]) -> None:
        sound = self.sound()
        shift, likeness = alignment(sound, await enhanced(guard, sound))
        assert likeness > 0.5, f"it is another sound: correlation {likeness:.2f}"
        assert abs(shift) <= SHIFT_MS * RATE_IN // 1000, f"it is {shift} samples late"

    @clones(1)
    async def test_silence_stays_silent(self, guard: Guard[SpeechEnhancer]) -> None:
        clean = await enhanced(guard, silence(1.0, RATE_IN).pcm)
        assert loudness(AudioFrame(clean, RATE_IN)) < 0.003

    @clones(1)
    async def test_noise_is_not_made_louder(self, guard: Guard[SpeechEnhancer]) -> None:
        import numpy as np

        noise = float_to_pcm(0.05 * np.random.default_rng(1).standard_normal(RATE_IN))
        clean = await enhanced(guard, noise)
        before, after = (loudness(AudioFrame(pcm, RATE_IN)) for pcm in (noise, clean))
        assert after < 1.1 * before

    @clones(1)
    async def test_a_flush_gives_the_rest_and_the_stream_goes_on(
        self, guard: Guard[SpeechEnhancer]
    ) -> None:
        first, second = self.sound()[:10_002], self.sound()[10_002:20_000]
        assert len(await enhanced(guard, first)) == len(first)
        assert await flushed(guard) == b"", "there was nothing more to hold back"
        assert len(await enhanced(guard, second)) == len(second)

    @clones(1)
    async def test_reset_forgets(self, guard: Guard[SpeechEnhancer]) -> None:
        expected = await enhanced(guard, self.sound())
        guard.model.reset()
        await pushed(guard, self.sound()[:10_002])
        guard.model.reset()
        self.same(await enhanced(guard, self.sound()), expected)

    @clones(1)
    async def test_no_audio_is_no_audio(self, guard: Guard[SpeechEnhancer]) -> None:
        assert await flushed(guard) == b""
        assert await pushed(guard, b"") == b""

    @clones(1)
    async def test_async_is_the_same(self, guard: Guard[SpeechEnhancer]) -> None:
        enhancer = guard.model
        expected = enhancer.enhance(self.sound()) + enhancer.flush()
        enhancer.reset()
        found = await enhancer.async_enhance(self.sound()) + await enhancer.async_flush()
        self.same(found, expected)

    @clones(2)
    async def test_two_clones_do_not_hear_each_other(
        self, first: Guard[SpeechEnhancer], second: Guard[SpeechEnhancer]
    ) -> None:
        expected = await enhanced(first, self.sound())
        first.model.reset()
        heard = b""
        for start in range(0, len(self.sound()), PIECE):
            heard += await pushed(first, self.sound()[start : start + PIECE])
            await pushed(second, silence(0.02, RATE_IN).pcm)
        self.same(heard + await flushed(first), expected)

    @clones(SESSIONS)
    async def test_eight_clones_at_once_do_as_if_alone(
        self, *guards: Guard[SpeechEnhancer]
    ) -> None:
        expected = await enhanced(guards[0], self.sound())
        guards[0].model.reset()
        asking: list[Any] = [lambda g=g: enhanced(g, self.sound()) for g in guards]
        for found in await at_once(asking):
            self.same(found, expected)

    @clones(1)
    async def test_inline_means_under_five_milliseconds(self, guard: Guard[SpeechEnhancer]) -> None:
        if not guard.model.inline:
            pytest.skip("it does not run on the event loop")
        sound = self.sound()
        pieces = [sound[start : start + PIECE] for start in range(0, len(sound), PIECE)]
        assert median_s(guard.model.enhance, pieces) < 0.005

    def sound(self) -> bytes:
        """The recording: PCM16 mono at 16 kHz."""
        return recording(self.speech).pcm

    def same(self, found: bytes, expected: bytes) -> None:
        """Equal but for rounding."""
        import numpy as np

        assert len(found) == len(expected)
        one, other = (np.frombuffer(pcm, "<i2").astype(np.int32) for pcm in (found, expected))
        assert one.size == 0 or int(np.abs(one - other).max()) <= self.tolerance


async def pushed(guard: Guard[SpeechEnhancer], audio: bytes) -> bytes:
    """What is ready after this audio, called as the engine calls it."""
    return await _called(guard, "enhance", audio)


async def flushed(guard: Guard[SpeechEnhancer]) -> bytes:
    """What was held back."""
    return await _called(guard, "flush")


async def _called(guard: Guard[SpeechEnhancer], name: str, *audio: bytes) -> bytes:
    async with guard.lease() as lease:
        enhancer: Any = lease.model
        if enhancer.inline:
            pcm = getattr(enhancer, name)(*audio)
        elif overrides(enhancer, SpeechEnhancer, f"async_{name}"):
            pcm = await getattr(enhancer, f"async_{name}")(*audio)
        else:
            pcm = await lease.run(getattr(enhancer, name), *audio)
    return AudioFrame(pcm, RATE_IN).check().pcm


async def enhanced(guard: Guard[SpeechEnhancer], pcm: bytes, size: int = PIECE) -> bytes:
    """All that comes of a stream in pieces of `size` bytes."""
    pieces = [await pushed(guard, pcm[at : at + size]) for at in range(0, len(pcm), size)]
    return b"".join(pieces) + await flushed(guard)


def alignment(before: bytes, after: bytes) -> tuple[int, float]:
    """By how many samples the second is later, and how alike they then are (at most 1)."""
    import numpy as np

    one, other = pcm_to_float(before), pcm_to_float(after)
    size = 1 << (one.size + other.size).bit_length()
    product = np.fft.rfft(other, size) * np.conj(np.fft.rfft(one, size))
    correlation = np.fft.irfft(product, size)
    best = int(np.argmax(np.abs(correlation)))
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    likeness = float(abs(correlation[best])) / norm if norm else 0.0
    return best if best < size // 2 else best - size, likeness
