"""What every controller of the speed of speech must do."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from xtalk.audio import RATE_OUT, AudioFrame, float_to_pcm, pcm_to_float, resample, silence
from xtalk.calls import change_speed
from xtalk.speech.interfaces import SpeechSpeedController
from xtalk.testing.recordings import recording
from xtalk.testing.suites.base import SESSIONS, Suite, at_once, clones, median_s
from xtalk.testing.suites.tts import loudness
from xtalk.threads import Guard

__all__ = ["SpeedControllerSuite"]

PIECE = 2 * RATE_OUT // 50  # bytes, 20 ms
TONE_HZ = 220.0
SPEEDS = (0.5, 0.8, 1.25, 1.5)


class SpeedControllerSuite(Suite[SpeechSpeedController]):
    """A controller of speed, at 48 kHz.

    Durations may be wrong by the share `tolerance`, and the pitch by the share `detune`.
    """

    slot = "speech_speed_controller"
    tolerance: ClassVar[float] = 0.04
    detune: ClassVar[float] = 0.01

    @clones(1)
    async def test_the_duration_changes_by_the_speed(
        self, guard: Guard[SpeechSpeedController]
    ) -> None:
        for sound in (tone(), speech()):
            for speed in SPEEDS:
                self.lasts(await paced(guard, sound, speed), sound, speed)

    @clones(1)
    async def test_the_pitch_stays(self, guard: Guard[SpeechSpeedController]) -> None:
        for speed in SPEEDS:
            found = pitch(await paced(guard, tone(), speed))
            assert abs(found / TONE_HZ - 1) < self.detune, f"{found:.1f} Hz at {speed}"

    @clones(1)
    async def test_a_tone_has_no_seams(self, guard: Guard[SpeechSpeedController]) -> None:
        """Neither a jump nor a hole where one piece meets the next."""
        for speed in SPEEDS:
            for size in (PIECE, 10 * PIECE):
                smooth(await paced(guard, tone(), speed, size=size))

    @clones(1)
    async def test_the_size_of_the_pieces_changes_no_duration(
        self, guard: Guard[SpeechSpeedController]
    ) -> None:
        for size in (962, PIECE, 10 * PIECE, 10**9):
            self.lasts(await paced(guard, tone(), 0.8, size=size), tone(), 0.8)

    @clones(1)
    async def test_speech_stays_as_loud(self, guard: Guard[SpeechSpeedController]) -> None:
        before = loudness(AudioFrame(speech(), RATE_OUT))
        for speed in SPEEDS:
            after = loudness(AudioFrame(await paced(guard, speech(), speed), RATE_OUT))
            assert 0.7 < after / before < 1.4

    @clones(1)
    async def test_the_speed_can_change_in_the_middle(
        self, guard: Guard[SpeechSpeedController]
    ) -> None:
        sound = tone(4.0)
        middle = len(sound) // 2
        changed = await paced(guard, sound[:middle], 0.8, last=False)
        changed += await paced(guard, sound[middle:], 1.25)
        self.lasts(changed, sound, 2 / (1 / 0.8 + 1 / 1.25))
        assert abs(pitch(changed) / TONE_HZ - 1) < self.detune
        smooth(changed)

    @clones(1)
    async def test_a_speed_out_of_range_is_the_nearest(
        self, guard: Guard[SpeechSpeedController]
    ) -> None:
        self.lasts(await paced(guard, tone(), 0.1), tone(), 0.5)
        self.lasts(await paced(guard, tone(), 5.0), tone(), 1.5)

    @clones(1)
    async def test_a_flush_ends_the_stream(self, guard: Guard[SpeechSpeedController]) -> None:
        expected = await paced(guard, tone(), 1.25)
        assert await paced(guard, b"", 1.25) == b"", "there was nothing more to hold back"
        again = await paced(guard, tone(), 1.25)
        self.lasts(again, tone(), 1.25)
        assert abs(len(again) - len(expected)) < 0.01 * len(expected)

    @clones(1)
    async def test_silence_stays_silent(self, guard: Guard[SpeechSpeedController]) -> None:
        sound = silence(1.0, RATE_OUT).pcm
        slow = await paced(guard, sound, 0.8)
        self.lasts(slow, sound, 0.8)
        assert loudness(AudioFrame(slow, RATE_OUT)) < 0.003

    @clones(1)
    async def test_little_audio_does_no_harm(self, guard: Guard[SpeechSpeedController]) -> None:
        for samples in (0, 1, 7, 480):
            sound = tone()[: 2 * samples]
            assert len(await paced(guard, sound, 0.8)) <= 2 * (2 * samples + 480)
        self.lasts(await paced(guard, tone(), 0.8), tone(), 0.8)

    @clones(2)
    async def test_two_clones_do_not_hear_each_other(
        self, first: Guard[SpeechSpeedController], second: Guard[SpeechSpeedController]
    ) -> None:
        sound, other = tone(), tone(hz=3 * TONE_HZ)
        heard: list[bytes] = [b"", b""]
        for start in range(0, len(sound), PIECE):
            piece = slice(start, start + PIECE)
            heard[0] += await paced(first, sound[piece], 0.8, last=False)
            heard[1] += await paced(second, other[piece], 1.25, last=False)
        heard = [
            heard[0] + await paced(first, b"", 0.8),
            heard[1] + await paced(second, b"", 1.25),
        ]
        self.lasts(heard[0], sound, 0.8)
        self.lasts(heard[1], other, 1.25)
        assert abs(pitch(heard[0]) / TONE_HZ - 1) < self.detune
        assert abs(pitch(heard[1]) / (3 * TONE_HZ) - 1) < self.detune

    @clones(SESSIONS)
    async def test_eight_clones_at_once_do_as_if_alone(
        self, *guards: Guard[SpeechSpeedController]
    ) -> None:
        asking: list[Any] = [lambda g=g: paced(g, tone(), 0.8) for g in guards]
        for found in await at_once(asking):
            self.lasts(found, tone(), 0.8)
            assert abs(pitch(found) / TONE_HZ - 1) < self.detune
            smooth(found)

    @clones(1)
    async def test_inline_means_under_five_milliseconds(
        self, guard: Guard[SpeechSpeedController]
    ) -> None:
        if not guard.model.inline:
            pytest.skip("it does not run on the event loop")
        pieces = [tone()[at : at + PIECE] for at in range(0, len(tone()), PIECE)]
        assert median_s(lambda piece: guard.model.process(piece, 0.8), pieces) < 0.005

    def lasts(self, found: bytes, sound: bytes, speed: float) -> None:
        """As long as the sound at this speed."""
        share = len(found) * speed / len(sound)
        assert abs(share - 1) < self.tolerance, f"{share:.3f} of the duration at {speed}"


async def paced(
    guard: Guard[SpeechSpeedController],
    pcm: bytes,
    speed: float,
    *,
    size: int = PIECE,
    last: bool = True,
) -> bytes:
    """What comes of the audio in pieces of `size` bytes; with `last`, to the end."""
    found = b""
    async with guard.lease() as lease:
        for start in range(0, len(pcm), size):
            found += await change_speed(lease, pcm[start : start + size], speed)
        if last:
            found += await change_speed(lease, b"", speed, last=True)
    return AudioFrame(found, RATE_OUT).check().pcm


def tone(seconds: float = 2.0, hz: float = TONE_HZ) -> bytes:
    """A sine, PCM16 at 48 kHz."""
    import numpy as np

    time = np.arange(int(seconds * RATE_OUT)) / RATE_OUT
    return float_to_pcm(0.5 * np.sin(2 * np.pi * hz * time))


def speech() -> bytes:
    """A recording, PCM16 at 48 kHz."""
    return resample(recording("what-can-you-do"), RATE_OUT).pcm


def pitch(pcm: bytes) -> float:
    """The strongest frequency, in Hz."""
    import numpy as np

    samples = pcm_to_float(pcm)
    size = 8 * samples.size  # padded, so that the peak is fine enough
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size), size))
    return float(np.argmax(spectrum)) * RATE_OUT / size


def smooth(pcm: bytes) -> None:
    """Fails when a tone jumps, or falls silent, but for its beginning and its end."""
    import numpy as np

    samples = pcm_to_float(pcm)[RATE_OUT // 10 : -RATE_OUT // 10]
    steepest = 2 * np.pi * TONE_HZ / RATE_OUT * float(np.abs(samples).max())
    assert float(np.abs(np.diff(samples)).max()) < 2 * steepest, "it clicks"
    frames = samples[: samples.size // 960 * 960].reshape(-1, 960)
    levels = np.sqrt((frames**2).mean(axis=1))
    assert levels.min() > 0.5 * np.median(levels), "it has a hole"
