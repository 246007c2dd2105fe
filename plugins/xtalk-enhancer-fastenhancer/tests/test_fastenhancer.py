"""What FastEnhancerS does with its network, and which networks it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network import write
from xtalk_enhancer_fastenhancer.fastenhancer import FastEnhancerS

from xtalk.audio import pcm_to_float
from xtalk.errors import ConfigError
from xtalk.plugins import Plugins
from xtalk.testing.recordings import recording

SOUND = recording("what-time-is-it").pcm
SPEECH = SOUND[16_000:24_096]  # without the silence in front


def test_trap_62_what_is_held_back_comes_with_flush_at_its_place(network: Path) -> None:
    """The original never asks for its last window, and begins with 257 zeros."""
    enhancer = FastEnhancerS(str(network))
    ready = enhancer.enhance(SOUND)
    assert len(SOUND) - len(ready) >= 2 * 256, "the network looks a window ahead"
    clean = pcm_to_float(ready + enhancer.flush())
    before = pcm_to_float(SOUND)
    loud = np.abs(before) > 0.05
    # The network of the tests makes nothing louder and loses at most half.
    ratio = clean[loud] / before[loud]
    assert ratio.min() > 0.45 and ratio.max() < 1.05


def test_the_noise_that_was_learnt_outlasts_a_flush(network: Path) -> None:
    enhancer = FastEnhancerS(str(network))
    fresh = enhancer.enhance(SPEECH) + enhancer.flush()
    enhancer.enhance(b"\0\x40" * 16_000)
    enhancer.flush()
    later = enhancer.enhance(SPEECH) + enhancer.flush()
    assert len(later) == len(fresh) == len(SPEECH) and later != fresh
    enhancer.reset()
    assert enhancer.enhance(SPEECH) + enhancer.flush() == fresh


def test_another_size_of_window_and_hop(tmp_path: Path) -> None:
    write(tmp_path / "other.onnx", hop=160, n_fft=320)
    enhancer = FastEnhancerS(str(tmp_path / "other.onnx"), n_fft=320, hop_size=160)
    assert len(enhancer.enhance(SOUND) + enhancer.flush()) == len(SOUND)


def test_a_model_by_name(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path))
    with pytest.raises(ConfigError, match=r"run: xtalk models get fastenhancer-s$"):
        FastEnhancerS()
    shutil.copy(network, tmp_path / "fastenhancer-s")
    assert FastEnhancerS().enhance(bytes(1024)) == bytes(512)


def test_every_name_that_it_gives_can_be_fetched() -> None:
    [offered] = [
        downloads
        for plugin, downloads in Plugins.load({}).call("xtalk_downloads")
        if plugin.name == "enhancer-fastenhancer"
    ]
    assert [each.name for each in offered] == ["fastenhancer-s", "fastenhancer-s-dns"]


@pytest.mark.parametrize(
    ("made", "given", "why"),
    [
        ({}, {"hop_size": 128}, r"hop_size: .* takes \[1, 256\] samples at a time"),
        ({}, {"n_fft": 1024}, r"n_fft: .* keeps 256 samples, so n_fft is 512"),
        ({"drop": "cache_out_4"}, {}, "expected wav_in, cache_in_0"),
        ({"open_size": True}, {}, "leaves a size open"),
    ],
)
def test_a_network_of_another_kind_is_refused(
    tmp_path: Path, made: dict[str, Any], given: dict[str, Any], why: str
) -> None:
    write(tmp_path / "odd.onnx", **made)
    with pytest.raises(ConfigError, match=why):
        FastEnhancerS(str(tmp_path / "odd.onnx"), **given)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(ConfigError, match="onnxruntime cannot read"):
        FastEnhancerS(str(tmp_path / "text.onnx"))
    with pytest.raises(ConfigError, match="is a folder"):
        FastEnhancerS(str(tmp_path))
    with pytest.raises(ConfigError, match="no file or folder"):
        FastEnhancerS(str(tmp_path / "none.onnx"))
