"""Each model keeps what its slot promises, with models that hear and speak in tones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

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


class Tones:
    """The model in question is a tone model: `where` is its attribute in `ToneModels`."""

    sdk = ("sherpa_onnx",)
    where: ClassVar[str]
    argument: ClassVar[str] = "model"
    others: ClassVar[Mapping[str, str]] = {}  # arguments that are tone models too

    settings: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        files = {self.argument: self.where, **self.others}
        paths = {name: str(getattr(tone_models, where)) for name, where in files.items()}
        return {**paths, **self.settings}


class ToneVoice(Tones, TTSSuite):
    model = SherpaOnnxTTS
    text = "Hello world. Stop, please. Goodbye!"
    settings: ClassVar = {"silence_scale": 1.0}  # pauses as they are made, so that lengths compare


class TestVits(ToneVoice):
    where = "two_voices"


class TestMatcha(ToneVoice):
    where = "matcha"
    others: ClassVar = {"vocoder": "vocoder"}


class TestKokoro(ToneVoice):
    where = "kokoro"


class TestKitten(ToneVoice):
    where = "kitten"


class TestPiper(ToneVoice):
    """A voice that reads phonemes; each is a tone or silence."""

    where = "piper"
    text = "Good evening, my dear old friend."


class TestSilero(Tones, VADSuite):
    model = SherpaOnnxVAD
    where = "vad"


class TestTEN(Tones, VADSuite):
    model = SherpaOnnxVAD
    where = "ten_vad"


class TestChinesePunctuation(Tones, PuntRestorerSuite):
    model = CTPunctRestorer
    where, argument = "ct_punctuation", "model_name"
    texts = ("hello world how are you", "你好吗")


class TestEnglishPunctuation(Tones, PuntRestorerSuite):
    model = CTPunctRestorer
    where, argument = "online_punctuation", "model_name"
    texts = ("hello world how are you", "i am fine thanks")


class ToneSpeaker(Tones, SpeakerEncoderSuite):
    """A timbre is a voice here: words of low tones or of high ones."""

    where = "speaker"

    def voice(self) -> bytes:
        return tones_pcm(WORDS[:3] * 4)

    def same_voice(self) -> bytes:
        return tones_pcm(WORDS[2::-1] * 5)

    def other_voice(self) -> bytes:
        return tones_pcm(WORDS[3:] * 4)


class TestWespeakerResNet34(ToneSpeaker):
    model = WespeakerResNet34


class TestPyannoteSpeakerEncoder(ToneSpeaker):
    model = PyannoteSpeakerEncoder
    argument = "model_name"


class TestSherpaOnnxDenoiser(Tones, EnhancerSuite):
    model = SherpaOnnxDenoiser
    where = "denoiser"


def test_what_the_denoiser_holds_for_noise_is_gone(tone_models: ToneModels) -> None:
    """The tone model keeps what is below 3 kHz."""
    time = np.arange(RATE) / RATE
    speech, noise = 0.3 * np.sin(2 * np.pi * 500 * time), 0.3 * np.sin(2 * np.pi * 6000 * time)
    denoiser = SherpaOnnxDenoiser(str(tone_models.denoiser))
    clean = denoiser.enhance(float_to_pcm(speech + noise)) + denoiser.flush()
    found = np.frombuffer(clean, "<i2")[1000:-1000] / 32768
    assert np.abs(found - speech[1000:-1000]).max() < 0.01
