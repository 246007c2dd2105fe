"""The words for what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from xtalk_captioner_signal.captioner import SignalCaptioner, describe
from xtalk_captioner_signal.measure import Measures

from xtalk.audio import RATE_IN, float_to_pcm, silence
from xtalk.testing.recordings import recording

USUAL = Measures(
    seconds=5.0,
    level_db=-25.0,
    noise_db=-65.0,
    voiced_s=2.0,
    pitch_hz=152.0,
    syllables=16,
    rate=4.2,
    clipped=0.0,
)
SENTENCE = (
    "Normally loud speech at a normal pace (about 4 syllables a second), medium in pitch "
    "(about 150 Hz). The background is quiet."
)


def test_a_caption_says_the_four_things() -> None:
    assert describe(USUAL) == SENTENCE


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"level_db": -50.0}, "Very quiet speech"),
        ({"level_db": -38.0}, "Quiet speech"),
        ({"level_db": -8.0}, "Loud speech"),
        ({"clipped": 0.02}, "Very loud, overdriven speech"),
        ({"rate": 2.2}, "at a slow pace (about 2 syllables a second)"),
        ({"rate": 6.6}, "at a fast pace (about 7 syllables a second)"),
        ({"pitch_hz": 101.0}, "low in pitch (about 100 Hz)"),
        ({"pitch_hz": 220.0}, "high in pitch (about 220 Hz)"),
        ({"noise_db": -50.0}, "There is some background noise."),
        ({"noise_db": -35.0}, "There is loud background noise."),
        ({"seconds": 0.1}, "There is too little sound to describe."),
        ({"voiced_s": 0.05}, "No speech is heard; there is a loud noise."),
        ({"rate": 0.3, "syllables": 1, "voiced_s": 4.0}, "No speech is heard"),
    ],
)
def test_each_measure_has_its_words(found: dict[str, Any], said: str) -> None:
    assert said in describe(replace(USUAL, **found))


def test_two_syllables_have_no_pace() -> None:
    assert "pace" not in describe(replace(USUAL, syllables=2))


def test_it_says_nothing_of_moods_or_persons() -> None:
    """No measure tells them, so no combination of the words may."""
    said = " ".join(
        describe(replace(USUAL, level_db=level, rate=rate, pitch_hz=pitch))
        for level in (-50.0, -25.0, -5.0)
        for rate in (2.0, 4.0, 7.0)
        for pitch in (90.0, 150.0, 250.0)
    ).lower()
    for word in ("angry", "happy", "sad", "calm", "excited", "man", "woman", "male", "child"):
        assert word not in said.replace("normal", "").split()


def test_silence_noise_and_a_steady_tone_are_no_speech() -> None:
    captioner = SignalCaptioner()
    assert captioner.caption(silence(3.0, RATE_IN).pcm) == "No speech is heard; it is silent."
    noise = 0.1 * np.random.default_rng(1).standard_normal(3 * RATE_IN)
    tone = 0.3 * np.sin(2 * np.pi * 200 * np.arange(3 * RATE_IN) / RATE_IN)
    for sound in (noise, tone):
        assert captioner.caption(float_to_pcm(sound)).startswith(
            "No speech is heard; there is a loud"
        )


def test_a_recording_is_described() -> None:
    caption = SignalCaptioner().caption(recording("two-plus-three").pcm)
    assert caption == (
        "Normally loud speech at a normal pace (about 4 syllables a second), medium in pitch "
        "(about 170 Hz). The background is quiet."
    )
