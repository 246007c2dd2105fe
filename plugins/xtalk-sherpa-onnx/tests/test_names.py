"""Models by name: the catalogue, what was fetched, and what to run where nothing was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tone_models import WORDS, ToneModels, tones_pcm
from xtalk_sherpa_onnx import catalogue, xtalk_downloads
from xtalk_sherpa_onnx.enhancer import SherpaOnnxDenoiser
from xtalk_sherpa_onnx.punctuation import CTPunctRestorer
from xtalk_sherpa_onnx.speaker import PyannoteSpeakerEncoder, WespeakerResNet34
from xtalk_sherpa_onnx.tts import SherpaOnnxTTS
from xtalk_sherpa_onnx.vad import SherpaOnnxVAD

from xtalk import schema
from xtalk.errors import ConfigError
from xtalk.plugins import Plugins

# What a type without arguments wants.
BARE = {
    SherpaOnnxTTS: "vits-melo-tts-zh_en",
    SherpaOnnxVAD: "silero_vad",
    CTPunctRestorer: "sherpa-onnx-punct-ct-transformer-zh-en-vocab272727-2024-04-12",
    WespeakerResNet34: "wespeaker_en_voxceleb_resnet34_LM",
    PyannoteSpeakerEncoder: "wespeaker_en_voxceleb_resnet34_LM",
    SherpaOnnxDenoiser: "gtcrn_simple",
}


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fetched models, empty."""
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.mark.parametrize(("model", "name"), BARE.items())
def test_a_type_without_its_model_says_what_to_run(fetched: Path, model: type, name: str) -> None:
    with pytest.raises(ConfigError, match=f"is not here; run: xtalk models get {name}"):
        schema.build(model, {})


@pytest.mark.parametrize(("model", "name"), BARE.items())
def test_what_it_says_to_run_is_in_the_catalogue_for_it(model: type, name: str) -> None:
    entries = [entry for entry in xtalk_downloads() if entry.name == name]
    assert [model.__name__ in entry.types for entry in entries] == [True]


def voice(models: ToneModels, fetched: Path) -> bool:
    folder = fetched / BARE[SherpaOnnxTTS]
    folder.mkdir()
    shutil.copy(models.vits, folder / "model.onnx")
    shutil.copy(models.voice_tokens, folder / "tokens.txt")
    shutil.copy(models.lexicon, folder / "lexicon.txt")
    return bool(SherpaOnnxTTS().synthesize("hello"))


def vad(models: ToneModels, fetched: Path) -> bool:
    shutil.copy(models.vad, fetched / BARE[SherpaOnnxVAD])
    return not SherpaOnnxVAD().is_speech(bytes(1024))


def punctuation(models: ToneModels, fetched: Path) -> bool:
    folder = fetched / BARE[CTPunctRestorer]
    folder.mkdir()
    shutil.copy(models.ct_punctuation, folder / "model.onnx")
    return CTPunctRestorer().restore("吗") == "吗？"


def speakers(models: ToneModels, fetched: Path) -> bool:
    shutil.copy(models.speaker, fetched / BARE[WespeakerResNet34])
    sound = tones_pcm(WORDS)
    one, other = WespeakerResNet34().extract(sound), PyannoteSpeakerEncoder().extract(sound)
    return bool((one == other).all())


def denoiser(models: ToneModels, fetched: Path) -> bool:
    shutil.copy(models.denoiser, fetched / BARE[SherpaOnnxDenoiser])
    return len(SherpaOnnxDenoiser().enhance(bytes(2048))) > 0


@pytest.mark.parametrize("use", [voice, vad, punctuation, speakers, denoiser])
def test_a_type_without_arguments_works_once_its_model_was_fetched(
    tone_models: ToneModels, fetched: Path, use: Callable[[ToneModels, Path], bool]
) -> None:
    assert use(tone_models, fetched)


def test_a_vocoder_and_a_lexicon_are_found_by_name(tone_models: ToneModels, fetched: Path) -> None:
    shutil.copytree(tone_models.matcha, fetched / "matcha-icefall-zh-baker")
    shutil.copy(tone_models.vocoder, fetched / "vocos-22khz-univ")
    shutil.copy(tone_models.lexicon, fetched / "lexicon-en-us")
    named: dict[str, Any] = {"model": "matcha-icefall-zh-baker"}
    assert SherpaOnnxTTS(**named).synthesize("hello")
    assert SherpaOnnxTTS(**named, options={"lexicon": "lexicon-en-us"}).synthesize("hello")


def test_a_vocoder_that_was_not_fetched_is_named(tone_models: ToneModels, fetched: Path) -> None:
    with pytest.raises(ConfigError, match="run: xtalk models get vocos-22khz-univ"):
        SherpaOnnxTTS(str(tone_models.matcha))


@pytest.mark.parametrize(
    ("model", "params"),
    [
        (PyannoteSpeakerEncoder, {"model_name": "pyannote/wespeaker-voxceleb-resnet34-LM"}),
        (PyannoteSpeakerEncoder, {"device": "cuda", "min_duration_sec": 3}),
        (CTPunctRestorer, {"model_name": "ct-punc", "hub": "ms", "disable_update": True}),
    ],
)
def test_a_configuration_of_the_original_is_taken(
    fetched: Path, model: type, params: dict[str, Any]
) -> None:
    schema.check(model, params, "params")
    with pytest.raises(ConfigError, match=f"run: xtalk models get {BARE[model]}"):
        schema.build(model, params)


def test_every_name_in_the_catalogue_is_there_once() -> None:
    names = [entry.name for entry in xtalk_downloads()]
    assert len(names) == len(set(names)) > 50


def test_every_entry_suits_a_type_of_ours_and_says_what_it_is() -> None:
    plugins = Plugins.load({})
    ours = {card.name for slot in plugins.slots for _, card in plugins.models(slot)}
    for entry in xtalk_downloads():
        assert entry.types and set(entry.types) <= ours, entry.name
        assert entry.summary and entry.url.startswith(catalogue.RELEASES), entry.name
