"""The vendored model: which file it is, and what it says to people, silence, noise and tones."""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from xtalk_vad_silero.silero import MODEL_FILE, SileroVAD

from xtalk.audio import RATE_IN, Framer, float_to_pcm, silence
from xtalk.errors import AudioError, ConfigError

SHA256 = "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"

# Recordings of people that are not part of the project: they lie beside the checkout, or nowhere.
PEOPLE = Path(__file__).parents[4] / "shared" / "speech"


def share_of_speech(pcm: bytes, vad: SileroVAD | None = None) -> float:
    vad = vad or SileroVAD()
    verdicts = [vad.is_speech(frame) for frame in Framer(vad.frame_samples).push(pcm)]
    return sum(verdicts) / len(verdicts)


def seconds(count: float) -> np.ndarray:
    return np.arange(round(count * RATE_IN)) / RATE_IN


def white_noise() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.05, 5 * RATE_IN)


def hum() -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * 50 * seconds(5)) + 0.1 * np.sin(2 * np.pi * 150 * seconds(5))


def tone() -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * seconds(5))


def clicks() -> np.ndarray:
    samples = np.zeros(5 * RATE_IN)
    samples[:: RATE_IN // 4] = 0.9
    return samples


def test_the_model_is_the_file_of_the_wheel() -> None:
    assert hashlib.sha256(MODEL_FILE.read_bytes()).hexdigest() == SHA256


def test_the_licence_lies_beside_the_model() -> None:
    notice = MODEL_FILE.with_name("LICENSE.silero-vad").read_text("utf-8")
    assert "MIT License" in notice and "Silero Team" in notice


@pytest.mark.parametrize("sound", [white_noise, hum, tone, clicks])
def test_there_is_no_speech_in_other_sounds(sound: Callable[[], np.ndarray]) -> None:
    assert share_of_speech(float_to_pcm(sound())) == 0


@pytest.mark.parametrize(
    "name", ["austen-0870", "austen-0880", "austen-0930", "go-forward-ten-meters", "jfk"]
)
def test_people_are_heard(name: str) -> None:
    path = PEOPLE / f"{name}.wav"
    if not path.exists():
        pytest.skip(f"{path.name}, a recording of a person, is not beside the checkout")
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE_IN
        pcm = file.readframes(file.getnframes())
    assert share_of_speech(pcm) > 0.5
    assert share_of_speech(silence(1.0, RATE_IN).pcm) == 0


def test_the_threshold_decides() -> None:
    frame = float_to_pcm(white_noise()[:512])
    probability = SileroVAD().speech_probability(frame)
    assert 0 < probability < 0.5
    assert SileroVAD(threshold=probability).is_speech(frame)
    assert not SileroVAD(threshold=probability + 0.01).is_speech(frame)


def test_clones_share_the_network_and_keep_the_threshold() -> None:
    vad = SileroVAD(threshold=0.7)
    assert vad.clone()._session is vad._session
    assert vad.clone().threshold == 0.7


def test_another_model_file_can_be_given(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(MODEL_FILE.read_bytes())
    assert share_of_speech(silence(1.0, RATE_IN).pcm, SileroVAD(model_path=str(other))) == 0


def test_a_model_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model_path: .*nowhere\.onnx"):
        SileroVAD(model_path="nowhere.onnx")


@pytest.mark.parametrize("samples", [0, 511, 513, 1024])
def test_a_frame_of_another_size_is_refused(samples: int) -> None:
    with pytest.raises(AudioError, match=f"1024 bytes, got {2 * samples}"):
        SileroVAD().is_speech(bytes(2 * samples))
