"""The conformance suite of recognisers, with models that hear tones."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tone_models import ToneModels, tones_pcm
from xtalk_sherpa_onnx.asr_local import SherpaOnnxLocal
from xtalk_sherpa_onnx.asr_named import ParaformerLocal, SenseVoiceSmallLocal, ZipformerLocal

from xtalk.testing.suites import ASRSuite

SAID = ("hello", "world", "please", "stop")


class HearsTones(ASRSuite):
    """In the place of a recording stand the tones of the words."""

    sdk = ("sherpa_onnx", "websockets", "yaml")
    expected = " ".join(SAID)

    def sound(self) -> bytes:
        return tones_pcm(SAID)


class TestSherpaOnnxLocalOnline(HearsTones):
    model = SherpaOnnxLocal

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        return {
            "kind": "online_transducer",
            "files": {
                "tokens": str(tone_models.tokens),
                "encoder": str(tone_models.transducer_encoder),
                "decoder": str(tone_models.transducer_decoder),
                "joiner": str(tone_models.transducer_joiner),
            },
        }


class TestSherpaOnnxLocalOffline(HearsTones):
    model = SherpaOnnxLocal

    @pytest.fixture
    def arguments(self, tone_models: ToneModels) -> Mapping[str, Any]:
        files = {"tokens": str(tone_models.tokens), "model": str(tone_models.zipformer_ctc)}
        return {"kind": "zipformer_ctc", "files": files}


class TestZipformerLocal(HearsTones):
    model = ZipformerLocal

    @pytest.fixture
    def arguments(self, tone_models: ToneModels, tmp_path: Path) -> Mapping[str, Any]:
        return {"model_dir": str(transducer_folder(tone_models, tmp_path))}


class TestSenseVoiceSmallLocal(HearsTones):
    model = SenseVoiceSmallLocal

    @pytest.fixture
    def arguments(self, tone_models: ToneModels, tmp_path: Path) -> Mapping[str, Any]:
        shutil.copy(tone_models.sense_voice, tmp_path / "model.int8.onnx")
        shutil.copy(tone_models.sense_voice_tokens, tmp_path / "tokens.txt")
        return {"model": str(tmp_path)}


class TestParaformerLocal(HearsTones):
    model = ParaformerLocal

    def sound(self) -> bytes:
        return tones_pcm(SAID, gap_s=0.12)  # its frames of 60 ms must see the gap

    @pytest.fixture
    def arguments(self, tone_models: ToneModels, tmp_path: Path) -> Mapping[str, Any]:
        shutil.copy(tone_models.paraformer, tmp_path / "model.onnx")
        shutil.copy(tone_models.paraformer_tokens, tmp_path / "tokens.txt")
        return {"model": str(tmp_path)}


def transducer_folder(models: ToneModels, folder: Path) -> Path:
    """The files as the releases of sherpa-onnx name them."""
    for part in ("encoder", "decoder", "joiner"):
        source = getattr(models, f"transducer_{part}")
        shutil.copy(source, folder / f"{part}-epoch-99-avg-1.int8.onnx")
    shutil.copy(models.tokens, folder / "tokens.txt")
    return folder
