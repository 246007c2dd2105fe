"""The hooks of xtalk-captioner-signal."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_captioner() -> Iterable[Model]:
    yield Model(
        "SignalCaptioner",
        "xtalk_captioner_signal.captioner:SignalCaptioner",
        "loudness, noise, speaking rate and pitch in words, offline; says nothing of moods",
        languages=("en",),
        sample_rates=(16_000,),
        license="Apache-2.0",
    )
