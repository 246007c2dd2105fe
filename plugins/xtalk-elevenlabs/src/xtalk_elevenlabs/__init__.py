"""The hooks of xtalk-elevenlabs."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl

_LANGUAGES = ("en", "zh", "es", "fr", "de", "it", "pt", "ru", "ja", "ko", "hi", "ar", "nl", "pl")
_LICENSE = "ElevenLabs Terms of Service (a paid service)"


@hookimpl
def xtalk_asr() -> Iterable[Model]:
    yield Model(
        "ElevenLabsASR",
        "xtalk_elevenlabs.asr:ElevenLabsASR",
        "ElevenLabs Scribe: some 90 languages, while one speaks or afterwards",
        languages=_LANGUAGES,
        sample_rates=(16_000,),
        streaming=True,
        word_times=True,
        license=_LICENSE,
    )


@hookimpl
def xtalk_tts() -> Iterable[Model]:
    yield Model(
        "ElevenLabsTTS",
        "xtalk_elevenlabs.tts:ElevenLabsTTS",
        "ElevenLabs voices in some 30 languages, streamed; word times over its WebSocket",
        languages=_LANGUAGES,
        sample_rates=(48_000, 44_100, 24_000, 22_050, 16_000),
        streaming=True,
        word_times=True,
        speed=False,
        license=_LICENSE,
    )
