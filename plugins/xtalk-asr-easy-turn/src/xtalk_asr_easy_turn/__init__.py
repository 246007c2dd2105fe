"""The hooks of xtalk-asr-easy-turn."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_asr() -> Iterable[Model]:
    yield Model(
        "EasyTurnASR",
        "xtalk_asr_easy_turn.asr:EasyTurnASR",
        "Easy Turn over gRPC: text, and whether the turn is over",
        languages=("zh",),
        sample_rates=(16_000,),
        streaming=False,
        word_times=False,
        license="that of the published weights",
    )
