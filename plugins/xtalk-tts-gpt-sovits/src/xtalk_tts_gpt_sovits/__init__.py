"""The hooks of xtalk-tts-gpt-sovits."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_tts() -> Iterable[Model]:
    yield Model(
        "GPTSoVITS",
        "xtalk_tts_gpt_sovits.voice:GPTSoVITS",
        "GPT-SoVITS on its api_v2 server: voices from recordings, streamed",
        languages=("zh", "en", "ja", "yue", "ko"),
        sample_rates=(48_000,),
        streaming=True,
        word_times=False,
        speed=True,
        license="MIT",
    )
