"""The measures, on sounds of which they are known and on recordings."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from xtalk_captioner_signal.measure import measure

from xtalk.audio import float_to_pcm, pcm_to_float, resample
from xtalk.testing.recordings import TEXTS, recording

RATE = 16_000
# How many syllables the recordings of the testing kit have, counted by ear and eye.
SYLLABLES = {"what-time-is-it": 4, "two-plus-three": 5, "what-can-you-do": 4}
JFK = 28
PEOPLE = Path(__file__).parents[4] / "shared" / "speech"


def person(name: str) -> bytes:
    path = PEOPLE / f"{name}.wav"
    if not path.exists():
        pytest.skip(f"the recording {name}.wav is not here")
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def vowels(
    pitch: float = 120.0, rate: float = 4.0, seconds: float = 3.0, level_db: float = -20.0
) -> np.ndarray:
    """Synthetic syllables: a buzz through two resonances, `rate` of them a second."""
    time = np.arange(int(seconds * RATE)) / RATE
    buzz = np.zeros(time.size)
    for harmonic in range(1, int(4_000 / pitch)):
        hz = harmonic * pitch
        gain = sum(1 / (1 + ((hz - formant) / 120) ** 2) for formant in (500, 1_500)) + 0.05
        buzz += gain * np.cos(2 * np.pi * hz * time)
    syllables = np.sin(np.pi * rate * time) ** 2
    sound = buzz * (0.02 + syllables)
    return 10 ** (level_db / 20) * sound / np.sqrt((sound**2).mean())


def noise(level_db: float, seconds: float = 3.0) -> np.ndarray:
    return 10 ** (level_db / 20) * np.random.default_rng(1).standard_normal(int(seconds * RATE))


@pytest.mark.parametrize("hz", [70.0, 95.0, 120.0, 165.0, 220.0, 310.0, 390.0])
def test_the_pitch_of_a_synthetic_voice(hz: float) -> None:
    found = measure(float_to_pcm(vowels(hz)))
    assert found.pitch_hz == pytest.approx(hz, rel=0.03)


def test_the_pitch_is_found_in_noise() -> None:
    found = measure(float_to_pcm(vowels(140.0) + noise(-35)))
    assert found.pitch_hz == pytest.approx(140, rel=0.03)


@pytest.mark.parametrize("rate", [2.0, 4.0, 6.0])
def test_the_rate_of_synthetic_syllables(rate: float) -> None:
    found = measure(float_to_pcm(vowels(rate=rate)))
    assert found.rate == pytest.approx(rate, rel=0.15)
    assert found.syllables == pytest.approx(3 * rate, abs=1)


def test_a_pause_is_no_slower_speech() -> None:
    pause = np.zeros(2 * RATE)
    found = measure(float_to_pcm(np.concatenate([vowels(), pause, vowels()])))
    assert found.rate == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize("level_db", [-50.0, -30.0, -15.0])
def test_the_level_of_speech(level_db: float) -> None:
    found = measure(float_to_pcm(vowels(level_db=level_db)))
    assert found.level_db == pytest.approx(level_db, abs=3)


@pytest.mark.parametrize("level_db", [-60.0, -40.0])
def test_the_level_of_noise_under_speech(level_db: float) -> None:
    sound = np.concatenate([vowels(), np.zeros(RATE)])
    found = measure(float_to_pcm(sound + noise(level_db, 4.0)))
    assert found.noise_db == pytest.approx(level_db, abs=3)


def test_noise_alone_has_no_voice() -> None:
    found = measure(float_to_pcm(noise(-20)))
    assert found.voiced_s < 0.1 and found.level_db == pytest.approx(-20, abs=1)


def test_what_is_clipped_is_seen() -> None:
    assert measure(float_to_pcm(vowels(level_db=-3))).clipped > 0.01
    assert measure(float_to_pcm(vowels(level_db=-20))).clipped == 0


@pytest.mark.parametrize("size", [0, 1, 2, 321, 1280, 1281])
def test_little_or_odd_audio_is_measured(size: int) -> None:
    found = measure(bytes(size))
    assert (found.pitch_hz, found.rate, found.syllables) == (None, None, 0)
    assert found.level_db == found.noise_db == -90


@pytest.mark.parametrize("name", TEXTS)
def test_the_syllables_of_synthetic_speech(name: str) -> None:
    found = measure(recording(name).pcm)
    assert abs(found.syllables - SYLLABLES[name]) <= 1


@pytest.mark.parametrize("name", TEXTS)
def test_a_voice_that_is_played_faster_is_higher(name: str) -> None:
    """One that is played at 1.25 times its pace."""
    from xtalk.audio import AudioFrame

    usual = measure(recording(name).pcm)
    fast = measure(resample(AudioFrame(recording(name).pcm, 20_000), RATE).pcm)
    assert usual.pitch_hz and fast.pitch_hz
    assert fast.pitch_hz / usual.pitch_hz == pytest.approx(1.25, rel=0.04)
    assert fast.rate and usual.rate and fast.rate > usual.rate


def test_the_syllables_of_a_noisy_recording_of_a_person() -> None:
    found = measure(person("jfk"))
    assert found.syllables == pytest.approx(JFK, rel=0.25)


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [("austen-0870", 85, 120), ("austen-0930", 80, 115), ("jfk", 200, 270)],
)
def test_the_pitch_of_people_is_that_of_another_method(
    name: str, lowest: float, highest: float
) -> None:
    """By the cepstrum these medians are 111, 104 and 248 Hz, some 10 % apart from ours."""
    found = measure(person(name))
    assert found.pitch_hz and lowest < found.pitch_hz < highest


def test_half_as_loud_is_six_decibels_less() -> None:
    pcm = recording("what-time-is-it").pcm
    soft = measure(float_to_pcm(0.5 * pcm_to_float(pcm)))
    assert measure(pcm).level_db - soft.level_db == pytest.approx(6.02, abs=0.1)
