"""The hooks of the models under the names that the original X-Talk gave its dummies."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_asr() -> Iterable[Model]:
    yield Model(
        "DummyASR",
        "xtalk_example.dummy:DummyASR",
        "FixedASR under the original's name",
        sample_rates=(16_000,),
        streaming=True,
        license="Apache-2.0",
    )


@hookimpl
def xtalk_llm_agent() -> Iterable[Model]:
    yield Model(
        "DummyAgent",
        "xtalk_example.dummy:DummyAgent",
        "gives one answer to everything",
        license="Apache-2.0",
    )


@hookimpl
def xtalk_tts() -> Iterable[Model]:
    yield Model(
        "DummyTTS",
        "xtalk_example.dummy:DummyTTS",
        "plays one WAV file, or a second of silence, whatever the text",
        license="Apache-2.0",
    )
