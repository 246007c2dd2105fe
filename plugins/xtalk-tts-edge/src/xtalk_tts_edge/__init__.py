"""The hooks of xtalk-tts-edge."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_tts() -> Iterable[Model]:
    from xtalk_tts_edge.voices import LANGUAGES, VOICES

    yield Model(
        "EdgeTTS",
        "xtalk_tts_edge.edge:EdgeTTS",
        "the voices of Microsoft Edge's read-aloud service, without a key",
        languages=LANGUAGES,
        sample_rates=(24_000,),
        streaming=True,
        word_times=True,
        voices=VOICES,
        speed=True,
        license="LGPL-3.0-only",
    )
