"""The hooks of xtalk-example: one function for each slot that it fills."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_asr() -> Iterable[Model]:
    yield Model(
        "FixedASR",
        "xtalk_example.asr:FixedASR",
        "hears the same text whatever is said",
        sample_rates=(16_000,),
        streaming=True,
        license="Apache-2.0",
    )


@hookimpl
def xtalk_llm_agent() -> Iterable[Model]:
    yield Model(
        "EchoAgent",
        "xtalk_example.agent:EchoAgent",
        "says what you said",
        streaming=True,
        license="Apache-2.0",
    )


@hookimpl
def xtalk_tts() -> Iterable[Model]:
    yield Model(
        "ToneTTS",
        "xtalk_example.tts:ToneTTS",
        "a tone for each character",
        sample_rates=(48_000,),
        streaming=True,
        voices=("low", "high"),
        speed=True,
        license="Apache-2.0",
    )
