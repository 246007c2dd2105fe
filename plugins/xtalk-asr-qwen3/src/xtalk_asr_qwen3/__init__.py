"""The hooks of xtalk-asr-qwen3."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_asr() -> Iterable[Model]:
    yield Model(
        "Qwen3ASRFlashRealtime",
        "xtalk_asr_qwen3.realtime:Qwen3ASRFlashRealtime",
        "Qwen3-ASR-Flash-Realtime in Alibaba's DashScope: streams, needs a key",
        languages=("zh", "yue", "en", "ja", "de", "ko", "ru", "fr", "pt", "ar", "it", "es", "hi"),
        sample_rates=(16_000, 8_000),
        streaming=True,
        word_times=False,
        license="a service of Alibaba Cloud under its terms",
    )
