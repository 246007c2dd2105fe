"""The models under the original's names keep what their slots promise."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from xtalk_example.dummy import DummyAgent, DummyASR, DummyTTS
from xtalk_example.tts import tone

from xtalk.audio import silence
from xtalk.errors import AudioError
from xtalk.testing.suites import AgentSuite, ASRSuite, TTSSuite


def write(path: Path, samples: bytes, *, channels: int = 1, rate: int = 48_000) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples)
    return str(path)


class TestDummyASR(ASRSuite):
    model = DummyASR
    expected = "This is a dummy ASR test text"


class TestDummyAgent(AgentSuite):
    model = DummyAgent


class TestDummyTTS(TTSSuite):
    model = DummyTTS

    @pytest.fixture
    def arguments(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"audio_file": write(tmp_path / "tone.wav", tone(440, 96_000))}


def test_dummy_tts_without_a_file_is_a_second_of_samples_and_no_header() -> None:
    assert DummyTTS().synthesize("hello") == silence(1.0, 48_000).pcm
    assert DummyTTS(sample_rate=16_000).synthesize("hello") == silence(1.0, 16_000).pcm


def test_dummy_tts_takes_the_rate_of_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "slow.wav", bytes(200), rate=8_000)
    assert DummyTTS(path).clone().output_rate == 8_000


def test_dummy_tts_refuses_stereo(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="2 channels"):
        DummyTTS(write(tmp_path / "stereo.wav", bytes(400), channels=2))
