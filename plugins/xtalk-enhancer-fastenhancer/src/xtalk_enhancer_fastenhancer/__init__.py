"""The hooks of xtalk-enhancer-fastenhancer."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Download, Model, hookimpl

RELEASES = "https://github.com/aask1357/fastenhancer/releases/download"


@hookimpl
def xtalk_speech_enhancer() -> Iterable[Model]:
    yield Model(
        "FastEnhancerS",
        "xtalk_enhancer_fastenhancer.fastenhancer:FastEnhancerS",
        "FastEnhancer on onnxruntime, on one thread",
        sample_rates=(16_000,),
        streaming=True,
        license="MIT",
    )


@hookimpl
def xtalk_downloads() -> Iterable[Download]:
    yield Download(
        "fastenhancer-s",
        f"{RELEASES}/onnx-vd-v1.0.0/fastenhancer_s.onnx",
        "FastEnhancer S, trained on VoiceBank-DEMAND: the original's model",
        types=("FastEnhancerS",),
        sha256="e2d0e91bbfab4af1316bb2c41126a38c8b3cd015b93bb630d651af8fdbf7f2e8",
        size=832_775,
        license="MIT",
    )
    yield Download(
        "fastenhancer-s-dns",
        f"{RELEASES}/onnx-dns-v1.0.0/fastenhancer_s.onnx",
        "FastEnhancer S, trained on more kinds of noise (DNS Challenge)",
        types=("FastEnhancerS",),
        sha256="d7c937d6b475dbe89a6e6a69853b685fe62d629f4c96077559c556ac6f8aaa2d",
        license="MIT",
    )
