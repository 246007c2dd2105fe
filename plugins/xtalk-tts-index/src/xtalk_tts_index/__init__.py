"""The hooks of xtalk-tts-index."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_tts() -> Iterable[Model]:
    yield Model(
        "IndexTTS",
        "xtalk_tts_index.voices:IndexTTS",
        "IndexTTS 1 and 1.5 on an index-tts-vllm server: voices from recordings",
        languages=("zh", "en"),
        sample_rates=(48_000,),
        streaming=True,
        word_times=False,
        speed=False,
        license="bilibili Model Use License",
    )
    yield Model(
        "IndexTTS2",
        "xtalk_tts_index.voices:IndexTTS2",
        "IndexTTS 2 on an index-tts-vllm server: voices from recordings, eight emotions",
        languages=("zh", "en"),
        sample_rates=(48_000,),
        streaming=True,
        word_times=False,
        emotions=(
            "neutral",
            "joy",
            "anger",
            "sadness",
            "fear",
            "disgust",
            "low",
            "surprise",
            "calm",
        ),
        speed=False,
        license="bilibili Model Use License",
    )
