"""A file that sherpa-onnx would end the process over is refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tone_models import ToneModels, without_metadata
from xtalk_sherpa_onnx.metadata import (
    KEYS,
    TYPED_KEYS,
    check_model,
    input_names,
    read_metadata,
)

from xtalk.errors import ConfigError

KINDS = {
    "offline wenet_ctc": lambda models: models.wenet_ctc,
    "offline nemo_ctc": lambda models: models.nemo_ctc,
    "offline sense_voice": lambda models: models.sense_voice,
    "offline paraformer": lambda models: models.paraformer,
    "offline bare": lambda models: models.zipformer_ctc,
    "online zipformer2_ctc": lambda models: models.online_zipformer2_ctc,
    "online transducer encoder": lambda models: models.transducer_encoder,
    "online transducer decoder": lambda models: models.transducer_decoder,
    "online transducer joiner": lambda models: models.transducer_joiner,
    "vits": lambda models: models.vits,
    "matcha": lambda models: models.matcha / "model.onnx",
    "vocoder": lambda models: models.vocoder,
    "ct_transformer punctuation": lambda models: models.ct_punctuation,
    "online punctuation": lambda models: models.online_punctuation,
    "TEN voice activity": lambda models: models.ten_vad,
    "speaker embedding": lambda models: models.speaker,
    "gtcrn denoiser": lambda models: models.denoiser,
}

# Building each of these would end the process, were the file not refused before.
CLASSES = {
    "xtalk_sherpa_onnx.tts:SherpaOnnxTTS": lambda models: models.matcha / "model.onnx",
    "xtalk_sherpa_onnx.vad:SherpaOnnxVAD": lambda models: models.denoiser,
    "xtalk_sherpa_onnx.punctuation:CTPunctRestorer": lambda models: models.ct_punctuation,
    "xtalk_sherpa_onnx.speaker:WespeakerResNet34": lambda models: models.speaker,
    "xtalk_sherpa_onnx.enhancer:SherpaOnnxDenoiser": lambda models: models.denoiser,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_has_its_keys_passes(tone_models: ToneModels, kind: str) -> None:
    path = KINDS[kind](tone_models)
    expected = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert check_model(path, kind) == expected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KEYS.get(kind) != ""])
def test_a_missing_key_is_named(tone_models: ToneModels, tmp_path: Path, kind: str) -> None:
    whole = KINDS[kind](tone_models)
    type_key, types = TYPED_KEYS.get(kind, ("", {}))
    keys = (KEYS.get(kind) or types.get(onnx_metadata(whole).get(type_key, "")) or "").split()
    for key in [*keys, *filter(None, [type_key])]:
        path = without_metadata(whole, tmp_path / "model.onnx", key)
        with pytest.raises(ConfigError, match=rf"model\.onnx is no {kind} model .*{key}"):
            check_model(path, kind)


def onnx_metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_the_names_of_the_inputs_are_read(tone_models: ToneModels) -> None:
    assert input_names(tone_models.vad) == ["input", "state", "sr"]


def test_a_large_graph_is_skipped(tone_models: ToneModels, tmp_path: Path) -> None:
    """1 GB of weights that a sparse file pretends to have, behind which the metadata stands."""
    model = onnx.load(tone_models.wenet_ctc)
    metadata = onnx.ModelProto(metadata_props=model.metadata_props).SerializeToString()
    size = 1 << 30
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.write(b"\x3a" + varint(size))  # field 7, the graph, and its length
        file.seek(size, 1)
        file.write(metadata)
    assert check_model(path, "offline wenet_ctc")["vocab_size"] == "7"


def varint(value: int) -> bytes:
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: b"",
        lambda whole: b"hello 1\nworld 2\n",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-3],
        lambda whole: b"\xff" * 20,
        lambda whole: bytes(100),
        lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    ],
)
def test_what_is_not_onnx_is_refused(
    tone_models: ToneModels, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "spoilt.onnx"
    path.write_bytes(spoil(tone_models.wenet_ctc.read_bytes()))
    with pytest.raises(ConfigError, match=r"spoilt\.onnx is not an ONNX model"):
        check_model(path, "offline wenet_ctc")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.onnx cannot be read: No such file"):
        check_model(tmp_path / "nowhere.onnx", "vits")


def test_the_format_of_onnxruntime_passes_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.ort"
    path.write_bytes(b"\x18\0\0\0ORTM" + bytes(100))
    assert read_metadata(path) is None
    assert check_model(path, "offline bare") == {}


def test_sherpa_onnx_itself_ends_the_process(tone_models: ToneModels, tmp_path: Path) -> None:
    """Why all this is done; should it stop to be so, the tables can go."""
    path = without_metadata(tone_models.wenet_ctc, tmp_path / "bare.onnx")
    code = f"""
import sherpa_onnx
try:
    sherpa_onnx.OfflineRecognizer.from_wenet_ctc({str(path)!r}, {str(tone_models.tokens)!r})
finally:
    print("alive")
"""
    done = run(code)
    assert done.returncode != 0 and "alive" not in done.stdout


@pytest.mark.parametrize("target", CLASSES)
def test_a_process_outlives_a_file_without_metadata(
    tone_models: ToneModels, tmp_path: Path, target: str
) -> None:
    path = without_metadata(CLASSES[target](tone_models), tmp_path / "bare.onnx")
    module, _, name = target.partition(":")
    code = f"""
from {module} import {name}
from xtalk.errors import ConfigError
try:
    {name}({str(path)!r})
except ConfigError as error:
    print(error)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert "bare.onnx is no " in done.stdout


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
