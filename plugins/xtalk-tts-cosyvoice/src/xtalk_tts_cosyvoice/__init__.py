"""The hooks of xtalk-tts-cosyvoice."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_tts() -> Iterable[Model]:
    yield Model(
        "CosyVoice",
        "xtalk_tts_cosyvoice.dashscope:CosyVoice",
        "CosyVoice in Alibaba's DashScope: streams, needs a key",
        languages=("zh", "en", "fr", "de", "ja", "ko", "ru"),
        sample_rates=(48_000,),
        streaming=True,
        speed=True,
        license="a service of Alibaba Cloud under its terms",
    )
    yield Model(
        "CosyVoiceLocal",
        "xtalk_tts_cosyvoice.local:CosyVoiceLocal",
        "CosyVoice 2 on a gRPC server of your own",
        extra="local",
        languages=("zh", "en", "ja", "ko", "yue"),
        streaming=True,
        speed=True,
        license="Apache-2.0",
    )
