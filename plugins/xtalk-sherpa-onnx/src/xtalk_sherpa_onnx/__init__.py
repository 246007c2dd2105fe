"""The hooks of xtalk-sherpa-onnx."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Download, Model, hookimpl


@hookimpl
def xtalk_asr() -> Iterable[Model]:
    yield Model(
        "SherpaOnnxASR",
        "xtalk_sherpa_onnx.asr_websocket:SherpaOnnxASR",
        "a WebSocket server of sherpa-onnx, streaming or whole recordings",
        sample_rates=(16_000,),
        streaming=True,
        license="Apache-2.0; the model of the server has its own",
    )
    yield Model(
        "SherpaOnnxLocal",
        "xtalk_sherpa_onnx.asr_local:SherpaOnnxLocal",
        "any recogniser of sherpa-onnx in the process, streaming or whole recordings",
        sample_rates=(16_000,),
        word_times=True,
        license="Apache-2.0; each model has its own",
    )
    yield Model(
        "ZipformerLocal",
        "xtalk_sherpa_onnx.asr_named:ZipformerLocal",
        "a streaming zipformer transducer in the process",
        sample_rates=(16_000,),
        streaming=True,
        word_times=True,
        license="Apache-2.0; each model has its own",
    )
    yield Model(
        "SenseVoiceSmallLocal",
        "xtalk_sherpa_onnx.asr_named:SenseVoiceSmallLocal",
        "SenseVoice small in the process, whole recordings, without torch",
        languages=("zh", "en", "ja", "ko", "yue"),
        sample_rates=(16_000,),
        streaming=False,
        license="FunASR Model Open Source License 1.1",
    )
    yield Model(
        "ParaformerLocal",
        "xtalk_sherpa_onnx.asr_named:ParaformerLocal",
        "Paraformer in the process, streaming or whole recordings, without torch",
        languages=("zh", "en"),
        sample_rates=(16_000,),
        license="FunASR Model Open Source License 1.1; others as their page says",
    )


@hookimpl
def xtalk_downloads() -> Iterable[Download]:
    from xtalk_sherpa_onnx import catalogue

    yield from catalogue.RECOGNISERS
