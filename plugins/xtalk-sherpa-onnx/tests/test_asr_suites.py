"""The conformance suite of recognisers, with models that hear tones."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tone_paraformer
from tone_models import ToneModels, tones_pcm
from xtalk_sherpa_onnx.asr_local import SherpaOnnxLocal
from xtalk_sherpa_onnx.asr_named import ParaformerLocal, SenseVoiceSmallLocal, ZipformerLocal

from xtalk.testing.suites import ASRSuite

SAID = ("hello", "world", "please", "stop")


@pytest.fixture(scope="module")
def folders(tone_models: ToneModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of models, with files as the releases of sherpa-onnx name them."""
    top = tmp_path_factory.mktemp("models")
    for name in ("transducer", "sense_voice", "paraformer", "streaming_paraformer"):
        (top / name).mkdir()
    for part in ("encoder", "decoder", "joiner"):
        source = getattr(tone_models, f"transducer_{part}")
        shutil.copy(source, top / "transducer" / f"{part}-epoch-99-avg-1.int8.onnx")
    shutil.copy(tone_models.tokens, top / "transducer" / "tokens.txt")
    shutil.copy(tone_models.sense_voice, top / "sense_voice" / "model.int8.onnx")
    shutil.copy(tone_models.sense_voice_tokens, top / "sense_voice" / "tokens.txt")
    shutil.copy(tone_models.paraformer, top / "paraformer" / "model.onnx")
    tone_paraformer.encoder(top / "streaming_paraformer" / "encoder.int8.onnx")
    tone_paraformer.decoder(top / "streaming_paraformer" / "decoder.int8.onnx")
    for name in ("paraformer", "streaming_paraformer"):
        shutil.copy(tone_models.paraformer_tokens, top / name / "tokens.txt")
    return top


@pytest.fixture(autouse=True)
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The files of the tests count as fetched, which saves each of them its trial."""
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path_factory.getbasetemp()))


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
    def arguments(self, folders: Path) -> Mapping[str, Any]:
        return {"model_dir": str(folders / "transducer")}


class TestSenseVoiceSmallLocal(HearsTones):
    model = SenseVoiceSmallLocal

    @pytest.fixture
    def arguments(self, folders: Path) -> Mapping[str, Any]:
        return {"model": str(folders / "sense_voice")}


class TestParaformerLocal(HearsTones):
    model = ParaformerLocal

    def sound(self) -> bytes:
        return tones_pcm(SAID, gap_s=0.12)  # its frames of 60 ms must see the gap

    @pytest.fixture
    def arguments(self, folders: Path) -> Mapping[str, Any]:
        return {"model": str(folders / "paraformer")}


class TestParaformerLocalStreaming(HearsTones):
    model = ParaformerLocal

    def sound(self) -> bytes:
        return tones_pcm(SAID, gap_s=0.12)

    @pytest.fixture
    def arguments(self, folders: Path) -> Mapping[str, Any]:
        return {"model": str(folders / "streaming_paraformer")}
