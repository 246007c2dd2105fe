"""The hooks of xtalk-tts-espeak."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_tts() -> Iterable[Model]:
    yield Model(
        "Espeak",
        "xtalk_tts_espeak.espeak:Espeak",
        "eSpeak NG: offline, instant, robotic, some 100 languages",
        languages=("en", "zh", "yue", "fr", "de", "es", "it", "pt", "ru", "ja", "hi", "ar"),
        sample_rates=(22_050,),
        streaming=True,
        voices=(
            "American",
            "American woman",
            "British",
            "British woman",
            "Scottish",
            "Mandarin",
            "Cantonese",
            "French",
            "German",
            "Spanish",
            "Italian",
            "Portuguese",
            "Russian",
            "Japanese",
            "Hindi",
            "Arabic",
        ),
        speed=True,
        license="GPL-3.0-or-later",
    )
