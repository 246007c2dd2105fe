"""Each model keeps what its slot promises, with models that hear and speak in tones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tone_models import RATE, WORDS, ToneModels, tones_pcm
from xtalk_sherpa_onnx.enhancer import SherpaOnnxDenoiser
from xtalk_sherpa_onnx.punctuation import CTPunctRestorer
from xtalk_sherpa_onnx.speaker import PyannoteSpeakerEncoder, WespeakerResNet34
from xtalk_sherpa_onnx.tts import SherpaOnnxTTS
from xtalk_sherpa_onnx.vad import SherpaOnnxVAD

from xtalk.audio import float_to_pcm
from xtalk.testing.suites import (
    EnhancerSuite,
    PuntRestorerSuite,
    SpeakerEncoderSuite,
    TTSSuite,
    VADSuite,
)

SDK = ("sherpa_onnx",)
PAUSES = {"silence_scale": 1.0}  # as the network makes them, so that lengths compare


class ToneVoice(TTSSuite):
    model = SherpaOnnxTTS
    sdk = SDK
    text = "Hello world. Stop, please. Goodbye!"


class TestVits(ToneVoice):
    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        files = {"tokens": str(tone_models.voice_tokens), "lexicon": str(tone_models.lexicon)}
        return {"model": str(tone_models.vits_two_voices), "options": files, **PAUSES}


class TestMatcha(ToneVoice):
    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {
            "model": str(tone_models.matcha),
            "vocoder": str(tone_models.vocoder),
            **PAUSES,
        }


class TestKokoro(ToneVoice):
    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {"model": str(tone_models.kokoro), **PAUSES}


class TestKitten(ToneVoice):
    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {"model": str(tone_models.kitten), **PAUSES}


class TestPiper(ToneVoice):
    """A voice that reads phonemes; each is a tone or silence."""

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {"model": str(tone_models.piper), **PAUSES}

    text = "Good evening, my dear old friend."


class TestSherpaOnnxVAD(VADSuite):
    model = SherpaOnnxVAD
    sdk = SDK

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {"model": str(tone_models.vad)}


class TestChinesePunctuation(PuntRestorerSuite):
    model = CTPunctRestorer
    sdk = SDK
    texts = ("hello world how are you", "你好吗")

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {"model_name": str(tone_models.ct_punctuation)}


class TestEnglishPunctuation(PuntRestorerSuite):
    model = CTPunctRestorer
    sdk = SDK
    texts = ("hello world how are you", "i am fine thanks")

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {"model_name": str(tone_models.online_punctuation)}


class ToneSpeaker(SpeakerEncoderSuite):
    """A timbre is a voice here: words of low tones or of high ones."""

    sdk = SDK

    def voice(self) -> bytes:
        return tones_pcm(WORDS[:3] * 4)

    def same_voice(self) -> bytes:
        return tones_pcm(WORDS[2::-1] * 5)

    def other_voice(self) -> bytes:
        return tones_pcm(WORDS[3:] * 4)


class TestWespeakerResNet34(ToneSpeaker):
    model = WespeakerResNet34

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {"model": str(tone_models.speaker)}


class TestPyannoteSpeakerEncoder(ToneSpeaker):
    model = PyannoteSpeakerEncoder

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {"model_name": str(tone_models.speaker), "device": "auto", "min_duration_sec": 3}


class TestSherpaOnnxDenoiser(EnhancerSuite):
    model = SherpaOnnxDenoiser
    sdk = SDK

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {"model": str(tone_models.denoiser)}


def test_what_the_denoiser_holds_for_noise_is_gone(tone_models: ToneModels) -> None:
    """The tone model keeps what is below 3 kHz."""
    time = np.arange(RATE) / RATE
    speech, noise = 0.3 * np.sin(2 * np.pi * 500 * time), 0.3 * np.sin(2 * np.pi * 6000 * time)
    denoiser = SherpaOnnxDenoiser(str(tone_models.denoiser))
    clean = denoiser.enhance(float_to_pcm(speech + noise)) + denoiser.flush()
    found = np.frombuffer(clean, "<i2")[1000:-1000] / 32768
    assert np.abs(found - speech[1000:-1000]).max() < 0.01
