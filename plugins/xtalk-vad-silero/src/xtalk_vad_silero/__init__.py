"""The hooks of xtalk-vad-silero."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_vad() -> Iterable[Model]:
    yield Model(
        "SileroVAD",
        "xtalk_vad_silero.silero:SileroVAD",
        "Silero VAD on onnxruntime, on one thread, model included",
        sample_rates=(16_000,),
        streaming=True,
        license="MIT",
    )
