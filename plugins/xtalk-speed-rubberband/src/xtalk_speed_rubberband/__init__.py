"""The hooks of xtalk-speed-rubberband."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_speech_speed_controller() -> Iterable[Model]:
    yield Model(
        "RubberbandSpeedController",
        "xtalk_speed_rubberband.rubberband:RubberbandSpeedController",
        "speech at 0.5 to 1.5 times its pace, its pitch kept, by Rubber Band",
        sample_rates=(48_000,),
        streaming=True,
        license="GPL-2.0-only",
    )
