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
def xtalk_tts() -> Iterable[Model]:
    yield Model(
        "SherpaOnnxTTS",
        "xtalk_sherpa_onnx.tts:SherpaOnnxTTS",
        "the voices of sherpa-onnx in the process: VITS, Piper, Matcha, Kokoro, KittenTTS",
        streaming=True,
        speed=True,
        license="Apache-2.0; each model has its own",
    )


@hookimpl
def xtalk_vad() -> Iterable[Model]:
    yield Model(
        "SherpaOnnxVAD",
        "xtalk_sherpa_onnx.vad:SherpaOnnxVAD",
        "voice activity by Silero's or TEN's network",
        sample_rates=(16_000,),
        license="Apache-2.0; each model has its own",
    )


@hookimpl
def xtalk_punt_restorer() -> Iterable[Model]:
    yield Model(
        "CTPunctRestorer",
        "xtalk_sherpa_onnx.punctuation:CTPunctRestorer",
        "punctuation by CT-Transformer, or an English network that also capitalises",
        languages=("zh", "en"),
        license="Apache-2.0; each model has its own",
    )


@hookimpl
def xtalk_speaker_encoder() -> Iterable[Model]:
    yield Model(
        "WespeakerResNet34",
        "xtalk_sherpa_onnx.speaker:WespeakerResNet34",
        "voices as vectors by a WeSpeaker, 3D-Speaker or NeMo network",
        sample_rates=(16_000,),
        license="CC-BY-4.0; other models have their own",
    )
    yield Model(
        "PyannoteSpeakerEncoder",
        "xtalk_sherpa_onnx.speaker:PyannoteSpeakerEncoder",
        "the encoder of the original's configurations, without torch",
        sample_rates=(16_000,),
        license="CC-BY-4.0; other models have their own",
    )


@hookimpl
def xtalk_speech_enhancer() -> Iterable[Model]:
    yield Model(
        "SherpaOnnxDenoiser",
        "xtalk_sherpa_onnx.enhancer:SherpaOnnxDenoiser",
        "noise suppression by GTCRN, as it comes",
        sample_rates=(16_000,),
        streaming=True,
        license="MIT",
    )


@hookimpl
def xtalk_downloads() -> Iterable[Download]:
    from xtalk_sherpa_onnx import catalogue

    yield from catalogue.RECOGNISERS
    yield from catalogue.VOICES
    yield from catalogue.VADS
    yield from catalogue.PUNCTUATION
    yield from catalogue.SPEAKERS
    yield from catalogue.DENOISERS
