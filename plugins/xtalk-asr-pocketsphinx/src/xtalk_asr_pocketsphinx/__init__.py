"""The hooks of xtalk-asr-pocketsphinx: speech recognition without a network or a GPU."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_asr() -> Iterable[Model]:
    yield Model(
        "PocketSphinx",
        "xtalk_asr_pocketsphinx.asr:PocketSphinx",
        "US English, offline, on the CPU: a grammar first, a language model for the rest",
        languages=("en",),
        sample_rates=(16_000,),
        streaming=True,
        word_times=True,
        license="BSD-2-Clause",
    )
